//! Where a bound is asked for.

use super::Interval;
use crate::{FlowError, Result, Shape};

/// A set of points on which a flow is bounded: everything, a box or a ball, among the data or among
/// the latents.
///
/// ```
/// use flow_core::lipschitz::Region;
/// let unit = Region::cube(0.0, 1.0);
/// let parts = Region::cuboid(vec![-1.0, 0.0], vec![1.0, 2.0]).subdivided(16);
/// let latents = Region::ball(vec![0.0, 0.0], 3.0).of_latents();
/// # let _ = (unit, parts, latents);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    extent: Extent,
    latent: bool,
    parts: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Extent {
    Everything,
    Cube { low: f64, high: f64 },
    Cuboid { low: Vec<f64>, high: Vec<f64> },
    Ball { centre: Vec<f64>, radius: f64 },
}

/// Parts that a region can be cut into.
const MOST_PARTS: usize = 1 << 20;

impl Region {
    fn new(extent: Extent) -> Self {
        Self { extent, latent: false, parts: 1 }
    }

    /// Every point: global bounds.
    pub fn everything() -> Self {
        Self::new(Extent::Everything)
    }

    /// All entries between `low` and `high`, as those of images in [0, 1].
    pub fn cube(low: f64, high: f64) -> Self {
        Self::new(Extent::Cube { low, high })
    }

    /// Each entry between its own limits; an image's are its channels, rows and columns.
    pub fn cuboid(low: Vec<f64>, high: Vec<f64>) -> Self {
        Self::new(Extent::Cuboid { low, high })
    }

    /// All points at most `radius` from `centre` by the Euclidean distance; the bound is that of the
    /// smallest box around it.
    pub fn ball(centre: Vec<f64>, radius: f64) -> Self {
        Self::new(Extent::Ball { centre, radius })
    }

    /// The same set among the latents.
    pub fn of_latents(self) -> Self {
        Self { latent: true, ..self }
    }

    /// Cuts the box into at least that many parts, each bounded by itself: tighter, and as much
    /// more work. The widest side is halved first. A bound of more than 2²⁰ parts is an error.
    pub fn subdivided(self, parts: usize) -> Self {
        Self { parts, ..self }
    }

    /// Whether the points are latents.
    pub fn is_of_latents(&self) -> bool {
        self.latent
    }

    /// The boxes that cover the region, in the API's order of entries; none for everything.
    pub(crate) fn boxes(&self, shape: Shape) -> Result<Option<Vec<Vec<Interval>>>> {
        let size = shape.size();
        let whole = match &self.extent {
            Extent::Everything => return Ok(None),
            Extent::Cube { low, high } => vec![sides(*low, *high)?; size],
            Extent::Cuboid { low, high } => {
                let each = [("low", low), ("high", high)];
                for (which, side) in each {
                    length(&format!("the {which} corner of the region"), side.len(), size)?;
                }
                low.iter().zip(high).map(|(&low, &high)| sides(low, high)).collect::<Result<_>>()?
            }
            Extent::Ball { centre, radius } => {
                length("the centre of the region", centre.len(), size)?;
                if !(radius.is_finite() && *radius >= 0.0) {
                    let wanted = "a finite number of at least 0";
                    return Err(FlowError::option("the radius of the region", radius, wanted));
                }
                let each =
                    centre.iter().map(|&c| sides((c - radius).next_down(), (c + radius).next_up()));
                each.collect::<Result<_>>()?
            }
        };
        if self.parts > MOST_PARTS {
            let most = format_args!("at most {MOST_PARTS}");
            return Err(FlowError::option("the parts of the region", self.parts, most));
        }
        let mut boxes = vec![whole];
        while boxes.len() < self.parts && size > 0 {
            boxes = boxes.into_iter().flat_map(halves).collect();
        }
        Ok(Some(boxes))
    }
}

/// Two boxes that cover one, cut across its widest side.
fn halves(whole: Vec<Interval>) -> [Vec<Interval>; 2] {
    let width = |i: &usize| whole[*i].high - whole[*i].low;
    let widest = (0..whole.len()).max_by(|a, b| width(a).total_cmp(&width(b))).unwrap_or(0);
    let Interval { low, high } = whole[widest];
    let middle = low + 0.5 * (high - low);
    let (mut left, mut right) = (whole.clone(), whole);
    left[widest] = Interval::new(low, middle);
    right[widest] = Interval::new(middle, high);
    [left, right]
}

fn sides(low: f64, high: f64) -> Result<Interval> {
    if low.is_finite() && high.is_finite() && low <= high {
        return Ok(Interval::new(low, high));
    }
    let found = format!("from {low} to {high}");
    Err(FlowError::option("a side of the region", found, "two finite numbers in their order"))
}

fn length(what: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(FlowError::Length { what: what.into(), found, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_whole() {
        let region = Region::cuboid(vec![0.0, 0.0, -1.0], vec![1.0, 4.0, -1.0]).subdivided(5);
        let boxes = region.boxes(Shape::vector(3)).unwrap().unwrap();
        assert_eq!(boxes.len(), 8);
        let volume = |b: &Vec<Interval>| (b[0].high - b[0].low) * (b[1].high - b[1].low);
        assert_eq!(boxes.iter().map(volume).sum::<f64>(), 4.0);
        for k in 0..100 {
            let point = [f64::from(k) / 99.0, f64::from(k * 37 % 100) / 25.0, -1.0];
            let holds = |b: &&Vec<Interval>| b.iter().zip(point).all(|(side, p)| side.contains(p));
            assert!(boxes.iter().any(|b| holds(&b)), "{point:?}");
        }
        assert_eq!(Region::everything().boxes(Shape::vector(3)).unwrap(), None);
    }

    #[test]
    fn too_many_parts_are_an_error() {
        for parts in [MOST_PARTS + 1, usize::MAX] {
            let region = Region::cube(0.0, 1.0).subdivided(parts);
            let error = region.boxes(Shape::vector(1)).unwrap_err().to_string();
            let want = format!("the parts of the region is {parts}, expected at most 1048576");
            assert_eq!(error, want);
        }
    }

    #[test]
    fn a_ball_lies_in_its_box() {
        let boxes = Region::ball(vec![0.1, 0.2], 0.3).boxes(Shape::vector(2)).unwrap().unwrap();
        assert!(boxes[0][0].contains(0.1 - 0.3) && boxes[0][1].contains(0.2 + 0.3));
    }

    #[test]
    fn bad_regions_are_errors() {
        for region in [
            Region::cube(1.0, 0.0),
            Region::cube(0.0, f64::INFINITY),
            Region::cuboid(vec![0.0], vec![1.0, 1.0]),
            Region::ball(vec![0.0, 0.0], -1.0),
            Region::ball(vec![0.0, 0.0], f64::NAN),
            Region::ball(vec![0.0], 1.0),
        ] {
            assert!(region.boxes(Shape::vector(2)).is_err(), "{region:?}");
        }
        let inside_out = Region::ball(vec![0.0, 0.0], -1.0).boxes(Shape::vector(2));
        let want = "the radius of the region is -1, expected a finite number of at least 0";
        assert_eq!(inside_out.unwrap_err().to_string(), want);
    }
}
