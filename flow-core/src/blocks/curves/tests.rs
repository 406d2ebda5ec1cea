use super::*;

/// Five-point differences of a function.
fn slope(f: impl Fn(f64) -> f64, at: f64) -> f64 {
    let step = 3e-5;
    let [a, b, c, d] = [-2.0, -1.0, 1.0, 2.0].map(|steps| f(at + steps * step));
    (8.0 * (c - b) - (d - a)) / (12.0 * step)
}

fn close(what: &str, got: f64, want: f64, tolerance: f64) {
    let error = (got - want).abs() / want.abs().max(1.0);
    assert!(error <= tolerance, "{what} is {got}, expected {want}: off by {error:e}");
}

/// Both directions undo each other and have the derivatives that they say, at the numbers `at`.
fn laws<C: Curve>(curve: C, at: &[f64]) {
    for &x in at {
        let (z, log_slope) = curve.forward(x);
        let (by, bend) = curve.slopes(x);
        let of = |what: &str| format!("{} at {x}: {what}", C::NAME);
        close(&of("the slope"), by, slope(|x| curve.forward(x).0, x), 1e-8);
        close(&of("its logarithm"), log_slope, by.abs().ln(), 1e-12);
        close(&of("the bend"), bend, slope(|x| curve.forward(x).1, x), 1e-8);

        let (back, log_inverse) = curve.inverse(z).unwrap();
        let tolerance = 1e-14 / by.abs().min(1.0);
        close(&of("there and back"), back, x, tolerance);
        close(&of("the logarithm back"), log_inverse, -log_slope, 10.0 * tolerance);
        let (inverse_by, inverse_bend) = curve.inverse_slopes(z);
        close(&of("the slope back"), inverse_by * by, 1.0, 10.0 * tolerance);
        // d(−log f')/dz = −(log f')'/f'.
        close(&of("the bend back"), inverse_bend * by, -bend, 10.0 * tolerance);
    }
}

const MILD: [f64; 9] = [-5.5, -2.0, -0.7, -1e-2, 0.0031, 0.4, 1.0, 2.5, 5.0];

#[test]
fn derivatives_and_inverses_agree() {
    laws(Tanh, &MILD);
    laws(Sigmoid, &MILD);
    laws(NormalCdf, &MILD);
    laws(Softplus, &MILD);
    laws(Softplus, &[-25.0, 40.0]);
    for slope in [0.01, 0.2, 3.0] {
        laws(LeakyRelu { slope }, &MILD);
    }
    for factor in [-2.0, 0.5, 1.0] {
        laws(Scale { factor }, &MILD);
    }
    let pixels = [0.01, 0.2, 0.5, 0.8, 0.99];
    for alpha in [0.0, 1e-6, 0.05, 0.4] {
        laws(Logit { alpha }, &pixels);
    }
    laws(Logit { alpha: 0.05 }, &[-0.04, 1.04]);
}

#[test]
fn log_slopes_are_right_far_beyond_the_smallest_number() {
    for sign in [-1.0, 1.0] {
        close("tanh", Tanh.forward(sign * 1e3).1, 4f64.ln() - 2e3, 1e-15);
        close("sigmoid", Sigmoid.forward(sign * 1e4).1, -1e4, 1e-15);
        let want = -0.5 * (1e4 + (2.0 * std::f64::consts::PI).ln());
        close("normal_cdf", NormalCdf.forward(sign * 1e2).1, want, 1e-15);
    }
    close("softplus", Softplus.forward(-1e4).1, -1e4, 1e-15);
    assert_eq!(Tanh.forward(1e3_f32).1, 4f32.ln() - 2e3);
    assert_eq!(Sigmoid.forward(-200_f32).1, -200.0);
}

#[test]
fn values_are_right_to_the_last_digits_in_the_tails() {
    let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-15, "{got}, {want}");
    close(Sigmoid.forward(-700.0).0, (-700f64).exp());
    close(Softplus.forward(-700.0).0, (-700f64).exp());
    close(Softplus.inverse(1e-300).unwrap().0, 1e-300_f64.ln());
    close(Sigmoid.inverse(1e-300).unwrap().0, 1e-300_f64.ln());
    close(Tanh.inverse(1e-12).unwrap().0, 1e-12);
    close(Tanh.inverse(-(1.0 - f64::EPSILON)).unwrap().0, -0.5 * (2.0 / f64::EPSILON).ln());
    close(Softplus.inverse(50.0).unwrap().1, (-50f64).exp());
}

/// From forty digits of another implementation.
#[test]
fn the_normal_quantile_has_full_accuracy() {
    for (p, want) in [
        (1e-300, -37.047_096_299_361_2),
        (1e-100, -21.273_453_560_965_324),
        (1e-20, -9.262_340_089_798_408),
        (1e-5, -4.264_890_793_922_825),
        (0.02425, -1.972_961_051_311_885),
        (0.3, -0.524_400_512_708_040_9),
        (0.9, 1.281_551_565_544_600_4),
        (0.999999, 4.753_424_308_817_088),
    ] {
        let (got, _) = NormalCdf.inverse::<f64>(p).unwrap();
        assert!((got / want - 1.0).abs() <= 1e-15, "{p}: {got}, expected {want}");
    }
    assert!(NormalCdf.inverse(0.5_f64).unwrap().0.abs() < 1e-16);
    let (x, _) = NormalCdf.inverse(1e-30_f32).unwrap();
    assert!((x + 11.464025).abs() < 1e-5, "{x}");
}

#[test]
fn the_ends_of_an_image_count_as_the_numbers_next_to_them() {
    fn ends<C: Curve, E: Scalar>(curve: C, far: E) {
        for x in [-far, far] {
            let (z, _) = curve.forward(x);
            let (back, log_slope) = curve.inverse(z).unwrap();
            let (by, bend) = curve.inverse_slopes(z);
            let all = [back, log_slope, by, bend];
            assert!(all.iter().all(|v| v.is_finite()), "{} {x:?}: {all:?}", C::NAME);
            assert!(back * x > E::zero());
        }
    }
    ends(Tanh, 1e3_f64);
    ends(Tanh, 1e3_f32);
    ends(Sigmoid, 1e3_f64);
    ends(Sigmoid, 1e3_f32);
    ends(NormalCdf, 1e3_f64);
    ends(NormalCdf, 1e3_f32);
    ends(Softplus, 1e3_f64);
    ends(Softplus, 1e3_f32);
}

#[test]
fn latents_outside_the_image_have_no_inverse() {
    assert_eq!(Tanh.inverse(1.5), None);
    assert_eq!(Tanh.inverse(-1.0000001), None);
    assert_eq!(Sigmoid.inverse(-1e-9), None);
    assert_eq!(NormalCdf.inverse(1.5_f32), None);
    assert_eq!(Softplus.inverse(-0.1), None);
}

#[test]
fn data_outside_the_domain_have_density_0() {
    let cases: [(f64, Vec<f64>); 3] = [
        (0.0, vec![-0.1, 0.0, 1.0, 1.5, 1e30, -1e30]),
        (0.05, vec![-0.06, 1.06, 7.0]),
        (0.4, vec![-2.1, 3.1]),
    ];
    for (alpha, outside) in cases {
        let curve = Logit { alpha };
        for x in outside {
            let (z, log_slope) = curve.forward(x);
            assert!(z.is_finite() && (z > 0.0) == (x > 0.5), "{alpha}, {x}: {z}");
            assert_eq!(log_slope, f64::NEG_INFINITY);
            assert_eq!(curve.slopes(x), (0.0, 0.0));
        }
    }
}

#[test]
fn nan_goes_through() {
    fn spreads<C: Curve>(curve: C) {
        assert!(curve.forward(f64::NAN).0.is_nan(), "{}", C::NAME);
        assert!(curve.inverse(f64::NAN).is_some_and(|(x, _)| x.is_nan()), "{}", C::NAME);
    }
    spreads(Tanh);
    spreads(Sigmoid);
    spreads(NormalCdf);
    spreads(Softplus);
    spreads(Logit { alpha: 0.05 });
    spreads(LeakyRelu { slope: 0.1 });
    spreads(Scale { factor: 2.0 });
}

#[test]
fn numbers_out_of_range_are_refused() {
    for slope in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(LeakyRelu { slope }.check().is_err());
    }
    for factor in [0.0, f64::NAN, f64::INFINITY] {
        assert!(Scale { factor }.check().is_err());
    }
    for alpha in [-0.1, 0.5, f64::NAN] {
        let error = Logit { alpha }.check().unwrap_err().to_string();
        assert!(error.ends_with("expected at least 0 and less than 0.5"), "{error}");
    }
}

/// Enclosures hold the values and slopes of points in an interval, and meet them at its ends.
fn encloses<C: Curve>(curve: C, low: f64, high: f64) {
    let of = |what: &str| format!("{} on [{low}, {high}]: {what}", C::NAME);
    let (value, slope) = curve.enclose(Interval::new(low, high));
    let back = curve.enclose_inverse(value).unwrap();
    for k in 0..=64 {
        let x = (low + (high - low) * f64::from(k) / 64.0).min(high);
        let (z, by) = (curve.forward(x).0, curve.slopes(x).0.abs());
        assert!(value.contains(z), "{}", of(&format!("{z}, not in {value:?}")));
        // The slope's own rounding.
        let near = [by * (1.0 - 1e-14), by * (1.0 + 1e-14)];
        let found = slope.low <= near[1] && near[0] <= slope.high;
        assert!(found, "{}", of(&format!("slope {by}, not in {slope:?}")));
        assert!(back.contains(x), "{}", of(&format!("{x}, not in {back:?}")));
    }
    let ends = [curve.forward(low).0, curve.forward(high).0];
    let size = value.magnitude() + 1e-2;
    assert!(value.low >= ends[0].min(ends[1]) - 1e-12 * size, "{}", of("loose below"));
    assert!(value.high <= ends[0].max(ends[1]) + 1e-12 * size, "{}", of("loose above"));
    if low.abs().max(high.abs()) < 4.0 {
        let loose = 1e-9 * (1.0 + high - low);
        assert!(back.low >= low - loose && back.high <= high + loose, "{}", of("loose back"));
    }
}

#[test]
fn enclosures_hold_what_points_give() {
    for (low, high) in [
        (-1.0, 2.0),
        (0.3, 0.4),
        (-3.0, -2.9),
        (0.0, 0.0),
        (-30.0, -20.0),
        (5.0, 40.0),
        (-1e3, 1e3),
    ] {
        encloses(Tanh, low, high);
        encloses(Sigmoid, low, high);
        encloses(NormalCdf, low, high);
        encloses(Softplus, low, high);
        for slope in [0.01, 3.0] {
            encloses(LeakyRelu { slope }, low, high);
        }
        for factor in [-2.0, 0.5] {
            encloses(Scale { factor }, low, high);
        }
    }
    for alpha in [0.0, 1e-6, 0.05, 0.4] {
        for (low, high) in [(0.1, 0.9), (0.5, 0.5), (1e-9, 0.2), (0.7, 0.999)] {
            encloses(Logit { alpha }, low, high);
        }
    }
}

#[test]
fn enclosures_know_the_domain_and_the_image() {
    let beyond = Interval::new(1.5, 2.0);
    assert_eq!(Sigmoid.enclose_inverse(beyond), None);
    assert_eq!(Tanh.enclose_inverse(-beyond), None);
    assert_eq!(NormalCdf.enclose_inverse(beyond), None);
    assert_eq!(Softplus.enclose_inverse(-beyond), None);
    let wide = Interval::new(-3.0, 0.25);
    let (value, slope) = Logit { alpha: 0.0 }.enclose(wide);
    assert_eq!(value, Interval::EVERYTHING);
    assert!(slope.low > 5.3 && slope.high == f64::INFINITY);
    for back in [Sigmoid.enclose_inverse(wide), NormalCdf.enclose_inverse(wide)].into_iter() {
        let back = back.unwrap();
        assert!(back.low == f64::NEG_INFINITY && (-1.2..-0.6).contains(&back.high), "{back:?}");
    }
    let all = Interval::EVERYTHING;
    for (value, slope) in [Tanh.enclose(all), Sigmoid.enclose(all), NormalCdf.enclose(all)] {
        assert!(value.is_bounded() && slope.low == 0.0 && slope.high < 1.001);
    }
}
