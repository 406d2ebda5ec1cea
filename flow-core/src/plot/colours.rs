//! Colours that can be told apart, in print and by the colour-blind too.

use plotters::style::RGBColor;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(45, 48, 56);
/// Grid lines.
pub(super) const FAINT: RGBColor = RGBColor(228, 230, 235);

/// What is not a number on a map: no share has this colour.
pub(super) const BROKEN: RGBColor = RGBColor(0, 200, 120);

/// The qualitative colours of Okabe and Ito (2008), the dark ones first.
pub(super) const SERIES: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Lightness, chroma and hue in degrees at equal steps, in Oklab's polar form (Ottosson 2020).
/// Lightness grows evenly, so equal steps of a value look equally far apart.
const STOPS: [[f64; 3]; 6] = [
    [0.16, 0.045, 285.0],
    [0.325, 0.125, 290.0],
    [0.49, 0.165, 345.0],
    [0.655, 0.16, 395.0],
    [0.82, 0.135, 435.0],
    [0.975, 0.06, 462.0],
];

/// The colour of a share: dark for 0, light for 1.
pub(super) fn sequential(share: f64) -> RGBColor {
    let place = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let below = (place as usize).min(STOPS.len() - 2);
    let t = place - below as f64;
    let [lightness, chroma, hue] =
        std::array::from_fn(|i| STOPS[below][i] * (1.0 - t) + STOPS[below + 1][i] * t);
    let (sine, cosine) = hue.to_radians().sin_cos();
    from_oklab(lightness, chroma * cosine, chroma * sine)
}

/// Oklab to 8-bit sRGB: the inverse matrices and the transfer function of the two definitions.
fn from_oklab(lightness: f64, a: f64, b: f64) -> RGBColor {
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let channel = |linear: f64| {
        let linear = linear.clamp(0.0, 1.0);
        let encoded = match linear {
            small if small <= 0.003_130_8 => 12.92 * small,
            _ => 1.055 * linear.powf(1.0 / 2.4) - 0.055,
        };
        (encoded * 255.0).round() as u8
    };
    RGBColor(
        channel(4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s),
        channel(-1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s),
        channel(-0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_and_red_are_themselves() {
        assert_eq!(from_oklab(1.0, 0.0, 0.0), RGBColor(255, 255, 255));
        assert_eq!(from_oklab(0.0, 0.0, 0.0), RGBColor(0, 0, 0));
        assert_eq!(from_oklab(0.627_955, 0.224_863, 0.125_846), RGBColor(255, 0, 0));
    }

    #[test]
    fn larger_shares_are_lighter() {
        let luma = |share| {
            let RGBColor(r, g, b) = sequential(share);
            0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b)
        };
        let steps: Vec<f64> = (0..=40).map(|i| luma(f64::from(i) / 40.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!(sequential(-1.0), sequential(0.0));
        assert_eq!(sequential(7.0), sequential(1.0));
    }
}
