//! What the examples share: options on the command line, and where they write.

pub mod symmetric;
pub mod two_sample;

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;

use flow_core::data::Bits;
use flow_core::io::read_table;
use flow_core::{Noise, Rows};

/// What an example's `main` returns.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Any error, which a failed `main` prints as its text.
pub struct Error(Box<dyn std::error::Error>);

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The command line: values after `--name`, switches, and words without a name.
#[derive(Debug, Default)]
pub struct Options {
    named: BTreeMap<String, String>,
    switched: Vec<String>,
    words: Vec<String>,
}

impl Options {
    /// Reads the command line, where only these names may stand, each followed by its value.
    ///
    /// # Errors
    /// A name that is not one of them, or without a value.
    pub fn read(names: &[&str]) -> Result<Self> {
        Self::read_with_switches(names, &[])
    }

    /// [`read`](Self::read), where also these switches may stand, which have no value.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with_switches(names: &[&str], switches: &[&str]) -> Result<Self> {
        Self::parse(std::env::args().skip(1), names, switches)
    }

    fn parse(
        arguments: impl IntoIterator<Item = String>,
        names: &[&str],
        switches: &[&str],
    ) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                options.words.push(argument);
                continue;
            };
            if switches.contains(&name) {
                options.switched.push(name.into());
                continue;
            }
            if !names.contains(&name) {
                let known = names.iter().chain(switches);
                let known: Vec<_> = known.map(|name| format!("--{name}")).collect();
                return Err(format!("no option {argument}\nhelp: {}", known.join(", ")).into());
            }
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            options.named.insert(name.into(), value);
        }
        Ok(options)
    }

    /// The value of an option, if it was given.
    ///
    /// # Errors
    /// A value that cannot be read.
    pub fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        let read = |text: &String| {
            text.parse().map_err(|error| format!("--{name} is `{text}`: {error}").into())
        };
        self.named.get(name).map(read).transpose()
    }

    /// Whether a switch was given.
    pub fn switched(&self, name: &str) -> bool {
        self.switched.iter().any(|given| given == name)
    }

    /// The words without a name.
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

/// An example's folder for what it writes, `target/<example>` below the current one.
///
/// # Errors
/// Where it cannot be made.
pub fn output_folder(example: &str) -> Result<PathBuf> {
    let folder = std::env::current_dir()?.join("target").join(example);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A small data set that comes with the examples; `examples/data/README.md` says what each holds.
pub fn shipped_data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data")).join(name)
}

/// The colour patches that come with the examples, each cut into 16 of 3 × 8 × 8: 5,280 small images
/// of 8-bit levels.
///
/// # Errors
/// Where the file cannot be read.
pub fn small_patches() -> Result<Rows<f32>> {
    const SIDE: usize = 8;
    let patches: Rows<f32> = read_table(shipped_data("patches.npy.gz"))?.to_rows()?;
    let mut small = Vec::with_capacity(patches.values().len());
    for patch in patches.values().chunks_exact(3 * 32 * 32) {
        for corner in 0..16 {
            let (top, left) = (SIDE * (corner / 4), SIDE * (corner % 4));
            for line in 0..3 * SIDE {
                let (channel, row) = (line / SIDE, top + line % SIDE);
                let from = (channel * 32 + row) * 32 + left;
                small.extend_from_slice(&patch[from..from + SIDE]);
            }
        }
    }
    Ok(Rows::new(small, 3 * SIDE * SIDE)?)
}

/// Grey ones of them, with numbers in [−0.5, 0.5), dequantised and in an order that the seed draws.
///
/// # Errors
/// As [`small_patches`].
pub fn grey_patches(seed: u64) -> Result<Rows<f32>> {
    let noise = Noise::seed(seed).named("data");
    let x = Bits::new(8)?.dequantize(&small_patches()?, &noise.named("dequantize"))?;
    let order = noise.permutation(x.len());
    let mut numbers = Vec::with_capacity(x.len() * 64);
    for row in order {
        let image = &x.values()[row * 192..(row + 1) * 192];
        numbers.extend((0..64).map(|i| (image[i] + image[64 + i] + image[128 + i]) / 3.0 - 0.5));
    }
    Ok(Rows::new(numbers, 64)?)
}

/// Points spread evenly over the eight dark squares, of side 2, of a checkerboard on [−4, 4]².
///
/// # Errors
/// No points.
pub fn checkerboard(count: usize, noise: &Noise) -> Result<Rows<f32>> {
    let point = |i: u64| {
        let square = noise.below(3 * i, 8);
        let (row, pair) = (square / 2, square % 2);
        let column = 2 * pair + row % 2;
        let within = |corner: u64, uniform: f64| (2.0 * (corner as f64 + uniform) - 4.0) as f32;
        [within(column, noise.uniform(3 * i + 1)), within(row, noise.uniform(3 * i + 2))]
    };
    Ok(Rows::from_rows((0..count as u64).map(point))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkerboard_has_its_points_on_eight_of_sixteen_squares() {
        let rows = checkerboard(4000, &Noise::seed(1)).unwrap();
        let mut seen = [0; 16];
        for point in rows.values().chunks_exact(2) {
            let [x, y] = [0, 1].map(|axis| (f64::from(point[axis]) + 4.0) / 2.0);
            assert!((0.0..=4.0).contains(&x) && (0.0..=4.0).contains(&y));
            seen[4 * y.min(3.0) as usize + x.min(3.0) as usize] += 1;
        }
        for (i, count) in seen.into_iter().enumerate() {
            let dark = (i / 4 + i % 4) % 2 == 0;
            assert!(if dark { (400..600).contains(&count) } else { count < 3 }, "{seen:?}");
        }
    }

    #[test]
    fn shipped_data_are_what_they_are_said_to_be() {
        use flow_core::data::Bits;
        let eight = Bits::new(8).unwrap();
        for (name, rows, width) in
            [("fashion-mnist.npy.gz", 1500, 28 * 28), ("patches.npy.gz", 330, 3 * 32 * 32)]
        {
            assert!(std::fs::metadata(shipped_data(name)).unwrap().len() < 1_000_000);
            let levels: Rows<f32> = read_table(shipped_data(name)).unwrap().to_rows().unwrap();
            assert_eq!((levels.len(), levels.width()), (rows, width), "{name}");
            assert!(eight.reduce(levels, Bits::new(5).unwrap()).is_ok(), "{name}");
        }
        let observed = read_table(shipped_data("two-moons.csv")).unwrap();
        let posterior = read_table(shipped_data("two-moons-posterior.npy")).unwrap();
        assert_eq!((observed.rows(), posterior.width()), (10, 20));
        assert_eq!(posterior.rows(), 10_000);
        assert!(posterior.values().iter().all(|theta| theta.abs() <= 1.0));
    }

    fn parse(line: &str) -> Result<Options> {
        let words = line.split_whitespace().map(String::from);
        Options::parse(words, &["steps", "seed"], &["published"])
    }

    #[test]
    fn small_patches_tile_the_large_ones() {
        let patches: Rows<f32> =
            read_table(shipped_data("patches.npy.gz")).unwrap().to_rows().unwrap();
        let small = small_patches().unwrap();
        assert_eq!((small.len(), small.width()), (16 * 330, 192));
        // The second channel at row 9 and column 30 of the third patch.
        let large = patches.values()[2 * 3072 + (32 + 9) * 32 + 30];
        assert_eq!(small.values()[(2 * 16 + 7) * 192 + 64 + 8 + 6], large);
    }

    #[test]
    fn options_and_words_are_told_apart() {
        let options = parse("data.csv --published --steps 20 more").unwrap();
        assert!(options.switched("published") && !options.switched("steps"));
        assert_eq!(options.words(), ["data.csv", "more"]);
        assert_eq!(options.get::<u64>("steps").unwrap(), Some(20));
        assert_eq!(options.get::<u64>("seed").unwrap(), None);
    }

    #[test]
    fn wrong_options_are_named() {
        let text = |error: Error| format!("{error:?}");
        let error = |line| text(parse(line).unwrap_err());
        assert_eq!(error("--step 1"), "no option --step\nhelp: --steps, --seed, --published");
        assert_eq!(error("--steps"), "--steps needs a value");
        let error = parse("--steps x").unwrap().get::<u64>("steps").unwrap_err();
        assert_eq!(text(error), "--steps is `x`: invalid digit found in string");
    }
}
