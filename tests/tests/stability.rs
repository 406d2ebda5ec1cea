//! The stability laboratory on flows whose answers are known.

use dfdx::prelude::*;
use flow_core::data::Bits;
use flow_core::plot::Window;
use flow_core::prelude::*;
use flow_core::stability::{
    self, Attack, Certified, Examination, Inputs, Method, PlaneMap, Quantity, Report,
};

flow! {
    struct Line: Vector<1> { linear(diagonal); }

    struct Diagonal: Vector<3> { linear(diagonal); }

    struct Turned: Vector<5> {
        linear(svd);
    }

    struct Large: Vector<300> {
        linear(diagonal);
        permute(reverse);
    }

    struct Plane: Vector<2> {
        affine_coupling(scale = exp, net = mlp([16, 16], tanh, zero_init = false));
        affine_coupling(scale = exp, net = mlp([16, 16], tanh, zero_init = false));
        linear(lu);
    }

    struct Steps: Vector<2> given Vector<1> {
        affine_coupling(scale = exp, net = mlp([16], tanh, zero_init = false));
        affine_coupling(scale = exp, net = mlp([16], tanh, zero_init = false));
    }

    struct Picture: Image<1, 4, 6> {
        squeeze(2);
        conv1x1(lu);
        affine_coupling(net = conv([3, 1], hidden = 5, tanh, zero_init = false));
        affine_coupling(net = conv([3, 1], hidden = 5, tanh, zero_init = false));
    }

    struct Squashed: Vector<2> {
        tanh;
    }
}

type Outcome = Result<(), FlowError>;

fn cpu() -> Cpu {
    Cpu::default()
}

fn normals<E: Scalar>(rows: usize, width: usize, seed: u64) -> Rows<E> {
    let mut numbers = vec![E::of(0.0); rows * width];
    Noise::seed(seed).fill_normal(0, &mut numbers);
    Rows::new(numbers, width).expect("finite rows")
}

/// All parameters moved at random.
fn jitter<A: flow_core::Architecture<E>, E: Scalar>(flow: &mut Flow<A, E>, by: f64) -> Outcome {
    let all: Vec<_> = flow.parameters().map(|p| (p.name.to_string(), p.values.to_vec())).collect();
    let mut i = 0;
    for (name, mut values) in all {
        for value in &mut values {
            *value += E::of(by * Noise::seed(77).normal(i));
            i += 1;
        }
        flow.set(&name, &values)?;
    }
    Ok(())
}

fn close(found: f64, wanted: f64, tolerance: f64) {
    assert!((found - wanted).abs() <= tolerance * wanted.abs(), "{found} for {wanted}");
}

#[test]
fn a_diagonal_flow_has_the_singular_values_it_was_given() -> Outcome {
    let mut flow = Diagonal::<f64>::build(&cpu(), 0)?;
    flow.set("0.log_scale", &[8f64.ln(), 0.5f64.ln(), 1e-3f64.ln()])?;
    for rows in [1, 7, 33] {
        let report = stability::report(&flow, &normals(rows, 3, 1))?;
        let jacobian = &report.jacobian;
        assert_eq!((jacobian.method, jacobian.largest.rows), (Method::Full, rows));
        for (spread, wanted) in
            [(&jacobian.largest, 8.0), (&jacobian.smallest, 1e-3), (&jacobian.condition, 8e3)]
        {
            let finite = spread.finite.as_ref().unwrap();
            close(finite.smallest(), wanted, 1e-12);
            close(finite.largest(), wanted, 1e-12);
        }
        assert_eq!((jacobian.unresolved, jacobian.largest.non_finite), (0, 0));
        assert!(jacobian.log_det.as_ref().unwrap().worst() < 1e-12);
        let (forward, inverse) =
            (report.observed.forward.unwrap(), report.observed.inverse.unwrap());
        close(forward.largest, 8.0, 1e-12);
        close(inverse.largest, 1e3, 1e-12);
        assert!(forward.lower_bound() < 8.0 && forward.lower_bound() > 8.0 - 1e-10);
        assert!(inverse.lower_bound() < 1e3 && inverse.lower_bound() > 1e3 - 1e-6);
        assert!(report.data.once().worst() < 1e-14 && report.latent.once().worst() < 1e-11);
    }
    Ok(())
}

#[test]
fn turning_both_sides_leaves_singular_values_as_they_are() -> Outcome {
    let mut flow = Turned::<f64>::build(&cpu(), 0)?;
    jitter(&mut flow, 1.0)?;
    let wanted: Vec<f64> = vec![9.0, 4.0, 1.0, 0.5, 0.125];
    let name = flow
        .parameters()
        .find(|p| p.values.len() == 5 && p.name.contains("singular"))
        .map(|p| p.name.to_string())
        .expect("the singular values");
    flow.set(&name, &wanted.iter().map(|v| v.ln()).collect::<Vec<_>>())?;
    let observed = stability::observed(&flow, &normals(4, 5, 2))?;
    close(observed.forward.unwrap().largest, 9.0, 1e-12);
    close(observed.inverse.unwrap().largest, 8.0, 1e-12);
    assert!(observed.forward.unwrap().lower_bound() <= 9.0);
    assert!(observed.inverse.unwrap().lower_bound() <= 8.0);
    Ok(())
}

#[test]
fn lanczos_finds_the_extremes_of_what_is_too_large() -> Outcome {
    let mut flow = Large::<f64>::build(&cpu(), 0)?;
    let scales: Vec<f64> = (0..300).map(|i| -1.0 + 2.0 * (f64::from(i) / 299.0).powi(3)).collect();
    flow.set("0.log_scale", &scales)?;
    let data = normals(3, 300, 3);
    let (top, bottom) = (1f64.exp(), (-1f64).exp());
    let full = Examination::default().jacobians(2).run(&flow, &data)?;
    close(full.jacobian.largest.worst(), top, 1e-12);
    close(full.jacobian.smallest.finite.unwrap().smallest(), bottom, 1e-12);

    let report = Examination::default().full_up_to(299).run(&flow, &data)?;
    assert_eq!(report.jacobian.method, Method::Lanczos(32));
    assert_eq!(report.jacobian.log_det, None);
    for (found, wanted) in [
        (report.jacobian.largest.worst(), top),
        (1.0 / report.jacobian.smallest.finite.as_ref().unwrap().smallest(), 1.0 / bottom),
    ] {
        assert!(found <= wanted * (1.0 + 1e-12) && found > 0.98 * wanted, "{found} for {wanted}");
    }
    // Above 256 numbers the observed bounds are Lanczos' too.
    let observed = stability::observed(&flow, &data)?;
    for (seen, wanted) in
        [(observed.forward.unwrap(), top), (observed.inverse.unwrap(), 1.0 / bottom)]
    {
        assert!(seen.lower_bound() < wanted && seen.largest > 0.98 * wanted, "{seen:?}");
    }
    Ok(())
}

#[test]
fn both_scalars_and_contexts_give_the_same_numbers() -> Outcome {
    let mut flow = Plane::<f64>::build(&cpu(), 4)?;
    jitter(&mut flow, 0.3)?;
    let mut single = Plane::<f32>::build(&cpu(), 4)?;
    jitter(&mut single, 0.3)?;
    let data: Rows<f64> = normals(37, 2, 5);
    let data_single = Rows::new(data.values().iter().map(|v| *v as f32).collect::<Vec<_>>(), 2)?;
    let (double, single) =
        (stability::report(&flow, &data)?, stability::report(&single, &data_single)?);
    assert_eq!((double.scalar.as_str(), single.scalar.as_str()), ("f64", "f32"));
    close(single.jacobian.largest.worst(), double.jacobian.largest.worst(), 1e-4);
    assert!(double.jacobian.log_det.unwrap().worst() < 1e-10);
    assert!(single.jacobian.log_det.unwrap().worst() < 1e-3);
    let errors = (double.data.once().worst(), single.data.once().worst());
    assert!(errors.0 < 1e-12 && errors.1 < 1e-3 && errors.1 > errors.0, "{errors:?}");

    // One context for all is the same as that context on every row, and another is not.
    let mut flow = Steps::<f64>::build(&cpu(), 6)?;
    jitter(&mut flow, 0.5)?;
    let one = cpu().tensor([[0.5]]);
    let each: Tensor<(usize, Const<1>), f64, _> = cpu().tensor_from_vec(vec![0.5; 37], (37, Const));
    let study = |report: Report| (report.jacobian, report.data);
    let shared = study(stability::report(&flow.given(one), &data)?);
    assert_eq!(shared, study(stability::report(&flow.given(each), &data)?));
    let other = study(stability::report(&flow.given(cpu().tensor([[-2.0]])), &data)?);
    assert_ne!(shared, other);
    let with_context = data.clone().given(vec![0.5], 1)?;
    let error = stability::report(&flow.given(cpu().tensor([[0.5]])), &with_context).unwrap_err();
    assert!(error.to_string().contains("help: give it to the flow"), "{error}");
    Ok(())
}

#[test]
fn observed_amplifications_do_not_suffer_from_the_flows_precision() -> Outcome {
    let widen = |values: &[f32]| -> Vec<f64> { values.iter().map(|v| f64::from(*v)).collect() };
    let data: Rows<f32> = normals(9, 2, 5);
    let wide_data = Rows::new(widen(data.values()), 2)?;
    macro_rules! check {
        ($flow:ident $(given $context:literal)?) => {{
            let mut single = $flow::<f32>::build(&cpu(), 4)?;
            jitter(&mut single, 0.3)?;
            let mut double = $flow::<f64>::build(&cpu(), 7)?;
            for stored in single.parameters().chain(single.buffers()) {
                double.set(stored.name, &widen(stored.values))?;
            }
            let seen = stability::observed(&single$(.given(cpu().tensor([[$context]])))?, &data)?;
            let wide = stability::observed(&double$(.given(cpu().tensor([[$context]])))?, &wide_data)?;
            assert_eq!(seen, wide);
            assert!(seen.forward.is_some_and(|seen| seen.error < 1e-10 * seen.largest), "{seen:?}");
        }};
    }
    check!(Plane);
    check!(Steps given 0.5);
    Ok(())
}

#[test]
fn rows_of_a_large_jacobian_are_those_of_a_small_one() -> Outcome {
    // Contexts differ from row to row, and so do Jacobians: each row keeps its own.
    let mut flow = Steps::<f64>::build(&cpu(), 6)?;
    jitter(&mut flow, 0.5)?;
    let data: Rows<f64> = normals(9, 2, 5);
    let contexts: Vec<f64> = (0..9).map(|i| f64::from(i) - 4.0).collect();
    let all: Tensor<(usize, Const<1>), f64, _> =
        cpu().tensor_from_vec(contexts.clone(), (9, Const));
    let all = Examination::default().jacobians(3).run(&flow.given(all), &data)?;
    let one = |row: usize| -> Result<f64, FlowError> {
        let context = cpu().tensor([[contexts[row]]]);
        let data = Rows::new(data.values()[2 * row..2 * row + 2].to_vec(), 2)?;
        Ok(stability::report(&flow.given(context), &data)?.jacobian.largest.worst())
    };
    let rows = [0, 3, 6];
    let each = rows.map(|row| one(row).unwrap());
    let best = (0..3).max_by(|&a, &b| each[a].total_cmp(&each[b])).unwrap();
    close(all.jacobian.largest.worst(), each[best], 1e-13);
    assert_eq!(all.jacobian.largest.worst_row(), Some(rows[best]));
    Ok(())
}

#[test]
fn images_are_studied_as_their_numbers() -> Outcome {
    let mut flow = Picture::<f64>::build(&cpu(), 1)?;
    jitter(&mut flow, 0.2)?;
    for rows in [1, 5] {
        let report = stability::report(&flow, &normals(rows, 24, 8))?;
        assert_eq!(report.event, "Image<1, 4, 6>");
        assert!(report.jacobian.log_det.unwrap().worst() < 1e-10);
        assert!(report.data.once().worst() < 1e-12);
    }
    Ok(())
}

#[test]
fn a_flow_that_overflows_is_counted_and_does_not_stop_the_others() -> Outcome {
    let mut flow = Line::<f32>::build(&cpu(), 0)?;
    flow.set("0.log_scale", &[100f32.ln()])?;
    let data = Rows::from_rows([[1.0f32], [1e38], [-2.0], [-3e38], [0.0]])?;
    let report = Examination::default().passes(2).run(&flow, &data)?;
    let once = report.data.once();
    assert_eq!((once.rows, once.non_finite, once.first_non_finite), (5, 2, Some(1)));
    assert_eq!(once.worst_row(), Some(1));
    assert!(once.finite.as_ref().unwrap().largest() < 1e-6);
    assert_eq!(report.latent.once().non_finite, 0);
    let text = report.to_string();
    assert!(text.contains("2 (40.0 %)"), "{text}");

    // A weight so small that the inverse overflows: every latent is lost.
    flow.set("0.log_scale", &[-88.0])?;
    let report = stability::report(&flow, &Rows::from_rows([[1.0f32]])?)?;
    assert!(report.jacobian.condition.worst() > 0.9);
    Ok(())
}

#[test]
fn a_row_that_a_block_refuses_is_named() -> Outcome {
    // Base samples beyond 1 have no data: of a thousand rows of two normals, about 534.
    let flow = Squashed::<f64>::build(&cpu(), 0)?;
    let data = Rows::from_rows([[0.25, 0.5], [-1.5, 0.0], [0.75, 0.125]])?;
    let report = Examination::default().samples(1000).run(&flow, &data)?;
    assert_eq!((report.data.once().non_finite, &report.data.failure), (0, &None));
    let once = report.latent.once();
    assert!((480..590).contains(&once.non_finite), "{}", once.non_finite);
    let failure = report.latent.failure.as_ref().expect("a failure");
    let row = once.first_non_finite.expect("a row");
    assert!(failure.starts_with(&format!("row {row}: tanh at 0: ")), "{failure}");
    assert!(report.to_string().contains(&format!("failed on row {row}: tanh")), "{report}");
    assert!(once.finite.as_ref().is_some_and(|finite| finite.largest() < 1e-12));
    // The slopes are 1 − tanh².
    close(report.observed.forward.unwrap().largest, 1.0, 1e-12);
    close(report.observed.inverse.unwrap().largest, 1.5f64.cosh().powi(2), 1e-12);
    assert_eq!(report.observed.inverse.unwrap().row, 1);
    Ok(())
}

/// The same report after JSON, but for the last bit of its numbers.
fn same(report: &Report) -> Outcome {
    let again = Report::from_json(&report.to_json()?)?;
    assert_eq!(again.to_string(), report.to_string());
    assert_eq!(
        (&again.certified, &again.latent.failure),
        (&report.certified, &report.latent.failure)
    );
    let spreads = |report: &Report| {
        let Report { data, latent, jacobian, .. } = report.clone();
        [
            data.passes,
            latent.passes,
            vec![jacobian.largest, jacobian.smallest],
            vec![jacobian.condition],
        ]
        .concat()
    };
    for (a, b) in spreads(&again).iter().zip(&spreads(report)) {
        assert_eq!((a.rows, a.non_finite, a.worst_row()), (b.rows, b.non_finite, b.worst_row()));
        let (a, b) = (a.finite.iter(), b.finite.iter());
        let quantiles = a.flat_map(|f| &f.quantiles).zip(b.flat_map(|f| &f.quantiles));
        quantiles.for_each(|(a, b)| close(*a, *b, 1e-15));
    }
    Ok(())
}

#[test]
fn a_report_survives_json_and_prints_a_table() -> Outcome {
    let mut flow = Plane::<f32>::build(&cpu(), 4)?;
    jitter(&mut flow, 0.5)?;
    let report = stability::report(&flow, &normals(20, 2, 5))?;
    same(&report)?;
    let broken = Rows::from_rows([[3e38f32, 3e38], [-3e38, 3e38]])?;
    let broken = stability::report(&flow, &broken)?;
    same(&broken)?;

    let certified = report.clone().with_certified(Certified {
        ln_forward: Some(5000.0),
        ln_inverse: None,
        scope: "on [−1, 1]²".into(),
    });
    let text = certified.to_string();
    for part in ["stability of Plane on 20 rows of Vector<2> in f32", "1e2172", "none", "[−1, 1]²"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    same(&certified)?;
    let path = std::env::temp_dir().join(format!("flow-report-{}.png", std::process::id()));
    report.draw(&path)?;
    assert!(std::fs::read(&path).expect("a picture").starts_with(b"\x89PNG"));
    broken.draw(&path)?;
    std::fs::remove_file(path).expect("a picture");
    assert!(Report::from_json("{}").is_err());
    Ok(())
}

#[test]
fn settings_and_rows_that_do_not_fit_are_errors() -> Outcome {
    let flow = Plane::<f32>::build(&cpu(), 0)?;
    let data = normals(3, 2, 0);
    for bad in [
        Examination::default().passes(0),
        Examination::default().samples(0),
        Examination::default().jacobians(0),
    ] {
        assert!(bad.run(&flow, &data).is_err(), "{bad:?}");
    }
    let narrow = normals(3, 1, 0);
    for error in [
        stability::report(&flow, &narrow).unwrap_err(),
        stability::observed(&flow, &narrow).unwrap_err(),
        Attack::ball(0.1).run(&flow, &narrow).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "a row has 1 numbers, expected 2");
    }
    Ok(())
}

#[test]
fn an_attack_stays_in_its_box_and_never_lowers_the_error() -> Outcome {
    let mut flow = Plane::<f32>::build(&cpu(), 4)?;
    jitter(&mut flow, 0.7)?;
    // A single row may be as bad as any around it; half of all rows are not.
    let mut higher = 0;
    for (rows, radius) in [(1, 0.3), (19, 0.01), (40, 2.0)] {
        let data = Inputs::Uniform.rows(rows, 2, (-0.5, 0.5), &Noise::seed(3))?;
        let attack = Attack::ball(radius).within(-0.5, 0.5).steps(15).restarts(3).seed(1);
        let found = attack.run(&flow, &data)?;
        assert_eq!(found, attack.run(&flow, &data)?);
        for (x, start) in found.inputs.values().iter().zip(data.values()) {
            assert!((-0.5..=0.5).contains(x), "{x}");
            assert!((f64::from(*x) - f64::from(*start)).abs() <= radius, "{x} from {start}");
        }
        let pairs = found.before.iter().zip(&found.after);
        assert!(pairs.clone().all(|(before, after)| after >= before));
        higher += pairs.filter(|(before, after)| after > before).count();
        // What is said of an input is what it does.
        let again = stability::report(&flow, &found.inputs)?.data;
        let largest = found.after.iter().copied().fold(0.0, f64::max);
        close(again.once().worst(), largest, 1e-12);
    }
    assert!(higher >= 30, "{higher} of 60");
    Ok(())
}

#[test]
fn an_attack_finds_where_the_inverse_breaks() -> Outcome {
    // Beyond 3.4e36 a hundredfold is infinite; every other input is reconstructed well.
    let mut flow = Line::<f32>::build(&cpu(), 0)?;
    flow.set("0.log_scale", &[100f32.ln()])?;
    let data = Rows::from_rows([[3.0e36f32], [0.0], [3.5e36]])?;
    let found = Attack::ball(1e36).steps(20).restarts(8).run(&flow, &data)?;
    assert_eq!((found.broken_before(), found.broken_after()), (1, 2));
    assert!(found.after[0].is_infinite() && found.after[1].is_finite());
    assert!(found.inputs.values()[0] > 3.3e36);
    assert_eq!(found.inputs.values()[2], 3.5e36);
    Ok(())
}

#[test]
fn the_dequantisation_cube_keeps_levels() -> Outcome {
    let bits = Bits::new(5)?;
    let mut flow = Plane::<f32>::build(&cpu(), 4)?;
    jitter(&mut flow, 0.7)?;
    let levels: Vec<f32> = (0..32).map(|level| level as f32).collect();
    let middles = levels.iter().map(|level| (level + 0.5) / 32.0).collect();
    let found = Attack::dequantization(bits)
        .within(0.0, 1.0)
        .steps(30)
        .run(&flow, &Rows::new(middles, 2)?)?;
    for (x, level) in found.inputs.values().iter().zip(levels) {
        let back = x * 32.0;
        assert!(back >= level && back <= level + 1.0, "{back} for level {level}");
    }
    Ok(())
}

#[test]
fn maps_of_the_plane_show_what_the_flow_does_there() -> Outcome {
    let mut flow = Plane::<f64>::build(&cpu(), 4)?;
    jitter(&mut flow, 0.3)?;
    let window = Window { x: (-2.0, 1.0), y: (0.0, 4.0) };
    let cells = 7;
    let density = PlaneMap::density(&flow, window, cells)?;
    let error = PlaneMap::reconstruction_error(&flow, window, cells)?;
    let condition = PlaneMap::condition_number(&flow, window, cells)?;
    assert_eq!(density.quantity, Quantity::Density);
    // The cell in column 5 and line 2.
    let (i, x) = (2 * 7 + 5, cpu().tensor([[-2.0 + 3.0 * 5.5 / 7.0, 4.0 * 2.5 / 7.0]]));
    close(density.values[i], flow.log_prob(x.clone())?.array()[0].exp(), 1e-12);
    let at = stability::report(&flow, &Rows::from_tensor(x)?)?;
    close(condition.values[i], at.jacobian.condition.worst(), 1e-12);
    assert_eq!(error.values[i], at.data.once().worst());
    assert_eq!([&density, &error, &condition].map(PlaneMap::non_finite), [0; 3]);

    // A window so wide that the inverse overflows in part of it.
    let mut single = Plane::<f32>::build(&cpu(), 4)?;
    jitter(&mut single, 0.3)?;
    let far = Window { x: (-1.0, 1.0), y: (-3e38, 3e38) };
    let far = PlaneMap::reconstruction_error(&single, Window { y: (-1e38, 3e38), ..far }, cells)?;
    let path = std::env::temp_dir().join(format!("flow-map-{}.png", std::process::id()));
    for map in [&density, &error, &condition, &far] {
        map.draw(&path, "a map")?;
        assert!(std::fs::read(&path).expect("a picture").starts_with(b"\x89PNG"));
    }
    std::fs::remove_file(path).expect("a picture");
    assert!(PlaneMap::density(&flow, window, 0).is_err());
    assert!(PlaneMap::density(&flow, Window { x: (1.0, 1.0), ..window }, 3).is_err());
    Ok(())
}

#[test]
fn decorrelation_trains_a_flow() -> Outcome {
    let mut flow = Turned::<f64>::build(&cpu(), 0)?;
    let mut data: Rows<f64> = normals(256, 5, 9);
    let mixed: Vec<f64> = data
        .values()
        .chunks_exact(5)
        .flat_map(|row| (0..5).map(|j| row[j] + if j > 0 { row[j - 1] } else { 0.0 }))
        .collect();
    data = Rows::new(mixed, 5)?;
    let trainer = Trainer::new(Adam::new(0.02)).batch_size(256).steps(150).silent();
    let history = trainer.fit_with(&mut flow, &data, |flow, batch, gradients| {
        let (z, _) = flow.forward(batch.x::<Vector<5>>()?.trace(gradients))?;
        stability::decorrelate(z)
    })?;
    let losses: Vec<f64> = history.records.iter().map(|record| record.loss).collect();
    assert!(losses[0] > 1.0 && losses[losses.len() - 1] < 0.2, "{losses:?}");
    Ok(())
}
