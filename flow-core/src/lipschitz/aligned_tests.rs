use super::*;
use crate::Noise;

/// A number of an interval, often at an end.
fn member(noise: &Noise, i: usize, of: Interval) -> f64 {
    let share = (2.0 * noise.uniform(i as u64) - 0.5).clamp(0.0, 1.0);
    (of.low + share * (of.high - of.low)).clamp(of.low, of.high)
}

fn around(middle: f64, half: f64) -> Interval {
    Interval::new(middle - half, middle + half)
}

/// A map of `d` numbers with Jacobians near to a random one, and a centre that is known to `half`.
fn random_map(noise: &Noise, d: usize, half: f64) -> MeanValue {
    let (entries, values) = (noise.named("entries"), noise.named("values"));
    let each = (0..d * d).map(|i| around(0.7 * entries.normal(i as u64), half));
    let jacobian = IntervalMatrix::from_intervals(d, d, &each.collect::<Vec<_>>());
    let centre = (0..d).map(|i| around(values.normal(i as u64), half)).collect();
    MeanValue { centre, jacobian }
}

/// A point on its way, with the Jacobian there.
struct Traveller {
    x: Vec<f64>,
    jacobian: Vec<f64>,
}

impl Traveller {
    /// Through a map of those, of the numbers from `start` on: its value at `centre`, and one Jacobian.
    fn pass(&mut self, noise: &Noise, map: &MeanValue, centre: &[f64], start: usize) {
        let (d, m) = (self.x.len(), map.centre.len());
        let entries = map.jacobian.intervals();
        let j: Vec<f64> =
            (0..m * m).map(|i| member(&noise.named("entries"), i, entries[i])).collect();
        let before = (self.x.clone(), self.jacobian.clone());
        for i in 0..m {
            // One value at the centre for all travellers.
            let value = map.centre[i].low + 0.9 * (map.centre[i].high - map.centre[i].low);
            let row = &j[i * m..][..m];
            let offset = |k: usize| before.0[start + k] - centre[start + k];
            self.x[start + i] = value + (0..m).map(|k| row[k] * offset(k)).sum::<f64>();
            for column in 0..d {
                self.jacobian[(start + i) * d + column] =
                    (0..m).map(|k| row[k] * before.1[(start + k) * d + column]).sum();
            }
        }
    }

    fn reorder(&mut self, order: &[usize], start: usize) {
        let (d, before) = (self.x.len(), (self.x.clone(), self.jacobian.clone()));
        for (to, from) in order.iter().enumerate() {
            let (to, from) = (start + to, start + from);
            self.x[to] = before.0[from];
            self.jacobian[to * d..][..d].copy_from_slice(&before.1[from * d..][..d]);
        }
    }
}

fn holds(interval: Interval, v: f64, what: &str) {
    let wide = interval.widened(1e-12) + Interval::new(-1e-12, 1e-12);
    assert!(wide.contains(v), "{what}: {v} outside {interval:?}");
}

/// Values and Jacobians of points that go through maps, orders and fewer numbers lie in what is said
/// of all of them, and so do inverses.
#[test]
fn travellers_stay_within() {
    let mut inverted = 0;
    for seed in 0..200 {
        let noise = Noise::seed(seed);
        let d = 2 + seed as usize % 3;
        let (half, side) =
            ([1e-3, 1e-2, 0.0][seed as usize % 3], [0.1, 0.0, 1.0][seed as usize / 3 % 3]);
        let sides: Vec<Interval> =
            (0..d).map(|i| around(noise.named("box").normal(i as u64), side)).collect();
        let mut aligned = Aligned::new(sides.clone()).unwrap();
        let mut travellers: Vec<Traveller> = (0..6)
            .map(|t| Traveller {
                x: (0..d).map(|i| member(&noise.named("start").at(t), i, sides[i])).collect(),
                jacobian: IntervalMatrix::identity(d).middles().to_vec(),
            })
            .collect();
        for step in 0..5 {
            let noise = noise.at(step);
            // The last steps leave the first number as it is.
            let start = usize::from(step > 2);
            let map = random_map(&noise, d - start, half);
            for (t, traveller) in travellers.iter_mut().enumerate() {
                traveller.pass(&noise.named("member").at(t as u64), &map, aligned.centre(), start);
            }
            aligned = aligned.then(&map, start).unwrap();
            let mut order: Vec<usize> = (0..d - start).collect();
            order.rotate_left(1);
            travellers.iter_mut().for_each(|traveller| traveller.reorder(&order, start));
            aligned.reorder(&order, start);

            let (hull, jacobian) = (aligned.hull(), aligned.jacobian().intervals());
            let inverse = aligned.inverse.as_ref().map(|p| p.times(&aligned.unframe).intervals());
            inverted += usize::from(inverse.is_some());
            for traveller in &travellers {
                hull.iter().zip(&traveller.x).for_each(|(&side, &v)| holds(side, v, "a value"));
                let each = jacobian.iter().zip(&traveller.jacobian);
                each.for_each(|(&entry, &v)| holds(entry, v, "a derivative"));
                let Some(inverse) = &inverse else { continue };
                // P·Q⁻¹·J holds the identity.
                for i in 0..d {
                    for k in 0..d {
                        let terms = (0..d).map(|l| {
                            inverse[i * d + l] * Interval::point(traveller.jacobian[l * d + k])
                        });
                        let sum = terms.fold(Interval::ZERO, |sum, term| sum + term);
                        holds(sum, f64::from(u8::from(i == k)), "an entry of the identity");
                    }
                }
            }
        }
    }
    assert!(inverted > 600, "only {inverted} of 1000 were inverted");
}

/// The exact inverse of a frame is not its transpose: rounding is carried along.
#[test]
fn the_inverse_of_a_frame_is_known_to_its_rounding() {
    let mut off = 0;
    for seed in 0..50 {
        let matrix = random_map(&Noise::seed(seed), 2, 0.0).jacobian;
        let (frame, unframe) = frame(&matrix).unwrap();
        let (q, near) = (frame.middles(), unframe.middles());
        // (Q·near)₀₁ without rounding: a product, what that has lost, and the other product's sum.
        let product = q[0] * near[1];
        let lost = q[0].mul_add(near[1], -product);
        let exact = q[1].mul_add(near[3], product) + lost;
        off += usize::from(exact != 0.0);
        assert!(exact == 0.0 || unframe.radii().iter().any(|&r| r > 0.0), "{unframe:?}");
    }
    assert!(off > 10, "only {off} of 50 frames are not orthogonal to the last bit");
}
