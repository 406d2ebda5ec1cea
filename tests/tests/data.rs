//! Levels and dimensions in front of flows: bounds that hold, gradients, errors.

use dfdx::prelude::*;
use flow_core::data::{pad, pad_noise, slice, Bits};
use flow_core::prelude::*;
use flow_core::Architecture;

flow! {
    struct Density: Vector<2> {
        affine_coupling(scale = tanh(1.0), net = mlp([8], tanh, zero_init = false));
        affine_coupling(scale = tanh(1.0), net = mlp([8], tanh, zero_init = false));
    }

    /// Starts as uniform noise.
    #[base(logistic)]
    struct Even: Vector<2> given Vector<2> {
        affine_coupling(net = mlp([8], tanh));
        affine_coupling(net = mlp([8], tanh));
    }

    /// Its tails are heavy enough for weights p/q of finite variance: scales are above a half.
    #[base(logistic)]
    struct Uneven: Vector<2> given Vector<2> {
        affine_coupling(scale = tanh(0.5), net = mlp([8], tanh, zero_init = false));
        affine_coupling(scale = tanh(0.5), net = mlp([8], tanh, zero_init = false));
    }

    #[base(uniform)]
    struct Cube: Vector<2> {
        permute(reverse);
    }

    struct Picture: Image<1, 2, 2> {
        standardize;
    }

    /// Four numbers, given the mean of each row of pixels.
    struct PictureNoise: Vector<4> given Vector<2> {
        affine_coupling(scale = tanh(1.0), net = mlp([8], tanh, zero_init = false));
        affine_coupling(scale = tanh(1.0), net = mlp([8], tanh, zero_init = false));
    }

    #[base(mixture(2))]
    struct Mixed: Vector<2> given Vector<2> {
        affine_coupling(net = mlp([4], tanh));
        affine_coupling(net = mlp([4], tanh));
    }

    struct Wide: Vector<3> {
        affine_coupling(scale = tanh(1.0), net = mlp([8], tanh, zero_init = false));
        affine_coupling(scale = tanh(1.0), net = mlp([8], tanh, zero_init = false));
    }
}

type Rows2 = Tensor<(usize, Const<2>), f64, Cpu>;

fn two() -> Bits {
    Bits::new(2).unwrap()
}

fn tensor<const D: usize>(numbers: Vec<f64>) -> Tensor<(usize, Const<D>), f64, Cpu> {
    let rows = numbers.len() / D;
    Cpu::default().tensor_from_vec(numbers, (rows, Const))
}

/// All sixteen pairs of levels of two bits.
fn cells() -> Rows2 {
    tensor((0..16u32).flat_map(|i| [f64::from(i / 4), f64::from(i % 4)]).collect())
}

fn context(levels: &Rows2) -> Rows2 {
    levels.clone() * 0.5 - 0.75
}

/// Mean and standard error.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

/// `ln P(k) + d·bits·ln 2` by the midpoint rule.
fn exact(flow: &Density<f64>, cell: &[f64]) -> f64 {
    const STEPS: usize = 64;
    let place = |k: f64, i: usize| (k + (i as f64 + 0.5) / STEPS as f64) / 4.0;
    let points = (0..STEPS * STEPS)
        .flat_map(|i| [place(cell[0], i / STEPS), place(cell[1], i % STEPS)])
        .collect();
    let density = flow.log_prob(tensor(points)).unwrap().as_vec().into_iter().map(f64::exp);
    (density.sum::<f64>() / (STEPS * STEPS) as f64).ln()
}

/// A density that is far from even within a cell.
fn density() -> Density<f64> {
    let mut flow = Density::<f64>::build(&Cpu::default(), 3).unwrap();
    move_weights(&mut flow, 2.0);
    flow
}

fn move_weights<A: Architecture<f64>>(flow: &mut flow_core::Flow<A, f64, Cpu>, by: f64) {
    let names: Vec<_> = flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    for (name, mut values) in names {
        let noise = Noise::seed(8).named(&name);
        values.iter_mut().enumerate().for_each(|(i, v)| *v += by * noise.normal(i as u64));
        flow.set(&name, &values).unwrap();
    }
}

#[test]
fn the_bound_is_never_above_the_likelihood_it_bounds() {
    const DRAWS: usize = 4000;
    let flow = density();
    let mut uneven = Uneven::<f64>::build(&Cpu::default(), 1).unwrap();
    move_weights(&mut uneven, 0.3);
    let mut gaps = 0.0;
    for cell in cells().as_vec().chunks(2) {
        let exact = exact(&flow, cell);
        let levels = tensor::<2>(cell.repeat(DRAWS));
        let view = uneven.given(context(&levels));
        let bound = two().bound(&flow, &view, levels.clone(), &mut Noise::seed(2)).unwrap();
        let even = Rows::from_tensor(levels).unwrap();
        let even = two().dequantize(&even, &Noise::seed(2)).unwrap();
        let even = flow.log_prob(even.x::<Vector<2>>().unwrap()).unwrap();
        for numbers in [bound.as_vec(), even.as_vec()] {
            let (mean, error) = moments(&numbers);
            assert!(mean <= exact + 4.0 * error, "{cell:?}: {mean} ± {error} above {exact}");
            gaps += exact - mean;
            // The weights exp(bound) average to the likelihood itself, so nothing is missing.
            let weights: Vec<f64> = numbers.iter().map(|v| (v - exact).exp()).collect();
            let (mean, error) = moments(&weights);
            assert!((mean - 1.0).abs() <= 4.0 * error + 2e-3, "{cell:?}: {mean} ± {error}");
        }
    }
    assert!(gaps > 1.0, "the density is too even to tell: {gaps}");
}

#[test]
fn an_even_dequantiser_is_uniform_dequantisation() {
    let flow = density();
    let even = Even::<f64>::build(&Cpu::default(), 1).unwrap();
    let levels = tensor::<2>(cells().as_vec().repeat(500));
    // Under a density that is even itself only ln q(u | k) is left, which is 0 for every sample.
    let cube = Cube::<f64>::build(&Cpu::default(), 0).unwrap();
    let view = even.given(context(&levels));
    let bound = two().bound(&cube, &view, levels.clone(), &mut Noise::seed(2)).unwrap();
    assert!(bound.as_vec().iter().all(|v| v.abs() < 1e-12));
    // And the noise is as even as uniform noise: the means agree.
    let bound = two().bound(&flow, &view, levels.clone(), &mut Noise::seed(2)).unwrap();
    let rows = Rows::from_tensor(levels).unwrap();
    let uniform = two().evaluate(&flow, &rows, &Noise::seed(2)).unwrap();
    let (mean, _) = moments(&bound.as_vec());
    let off = two().per_dimension(mean, 2) - uniform.mean;
    assert!(off.abs() < 6.0 * uniform.standard_error, "{off} off: {uniform:?}");
}

#[test]
fn bits_per_dimension_are_counted_alike() {
    let flow = density();
    let rows = Rows::from_tensor(cells()).unwrap();
    let noise = Noise::seed(5);
    let found = two().evaluate(&flow, &rows, &noise).unwrap();
    let with = two().evaluate_with(&rows, |batch| {
        flow.log_prob(two().dequantize(batch, &noise)?.x::<Vector<2>>()?)
    });
    let with = with.unwrap();
    assert!((found.mean - with.mean).abs() < 1e-12);
    assert!((found.standard_error - with.standard_error).abs() < 1e-12);
    assert_eq!((found.rows, with.rows), (16, 16));
    let x = two().dequantize(&rows, &noise).unwrap();
    let (mean, error) = moments(&flow.log_prob(x.x::<Vector<2>>().unwrap()).unwrap().as_vec());
    assert!((found.mean - (2.0 - mean / (2.0 * 2f64.ln()))).abs() < 1e-12);
    assert!((found.standard_error - error / (2.0 * 2f64.ln())).abs() < 1e-12);
    let cut = two().evaluate_with(&rows, |_| Ok(Cpu::default().tensor_from_vec(vec![0.0], (1,))));
    assert!(matches!(cut, Err(FlowError::Length { found: 1, expected: 16, .. })), "{cut:?}");
}

/// Central differences by every weight of a flow.
fn differences<A: Architecture<f64>>(
    flow: &mut flow_core::Flow<A, f64, Cpu>,
    mut loss: impl FnMut(&flow_core::Flow<A, f64, Cpu>) -> f64,
) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut found = Vec::new();
    let names: Vec<_> = flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    for (name, values) in names {
        for i in 0..values.len() {
            let mut side = |by: f64| {
                let mut moved = values.clone();
                moved[i] += by;
                flow.set(&name, &moved).unwrap();
                loss(flow)
            };
            found.push((side(STEP) - side(-STEP)) / (2.0 * STEP));
        }
        flow.set(&name, &values).unwrap();
    }
    found
}

/// In the order of `differences`.
fn gradients<A: Architecture<f64>>(
    flow: &flow_core::Flow<A, f64, Cpu>,
    gradients: &mut Gradients<f64, Cpu>,
) -> Vec<f64> {
    let by_name = flow.gradients(gradients).unwrap();
    flow.parameters().flat_map(|p| by_name[p.name].clone()).collect()
}

fn near(found: &[f64], want: &[f64]) {
    assert_eq!(found.len(), want.len());
    assert!(want.iter().any(|v| v.abs() > 1e-3), "nothing to compare");
    for (found, want) in found.iter().zip(want) {
        assert!((found - want).abs() < 1e-6 * (1.0 + want.abs()), "{found} is not near {want}");
    }
}

#[test]
fn gradients_of_the_bound_are_those_of_differences() {
    let (mut flow, mut uneven) = (density(), Uneven::<f64>::build(&Cpu::default(), 1).unwrap());
    let levels = cells();
    let given = context(&levels);
    let weights: Vec<f64> = (0..16).map(|i| f64::from(i) / 16.0 - 0.3).collect();
    let weigh = |numbers: Vec<f64>| -> f64 {
        numbers.iter().zip(&weights).map(|(number, weight)| number * weight).sum()
    };
    let weights = Cpu::default().tensor_from_vec(weights.clone(), (16,));
    let bound =
        |flow: &flow_core::Flow<_, f64, Cpu>, q: &flow_core::Flow<_, f64, Cpu>, c: &Rows2| {
            let view = q.given(c.clone());
            weigh(two().bound(flow, &view, cells(), &mut Noise::seed(2)).unwrap().as_vec())
        };
    // The tape comes through the levels, the context, or both.
    let one = two()
        .bound(&*flow, &uneven.given(given.clone()), levels.leaky_trace(), &mut Noise::seed(2))
        .unwrap();
    let mut one = (one * weights.clone()).sum::<Rank0, _>().backward();
    let other = two()
        .bound(&*flow, &uneven.given(given.leaky_trace()), levels.clone(), &mut Noise::seed(2))
        .unwrap();
    let mut other = (other * weights.clone()).sum::<Rank0, _>().backward();
    let both = two()
        .bound(
            &*flow,
            &uneven.given(given.leaky_trace()),
            levels.leaky_trace(),
            &mut Noise::seed(2),
        )
        .unwrap();
    let mut both = (both * weights).sum::<Rank0, _>().backward();

    let by_context: Vec<f64> = (0..32)
        .map(|i| {
            let side = |by: f64| {
                let mut moved = given.as_vec();
                moved[i] += by;
                bound(&flow, &uneven, &tensor(moved))
            };
            (side(1e-5) - side(-1e-5)) / 2e-5
        })
        .collect();
    near(&other.get(&given).as_vec(), &by_context);
    near(&both.get(&given).as_vec(), &by_context);
    let by_density = {
        let q = (*uneven).clone();
        differences(&mut flow, |flow| bound(flow, &q, &given))
    };
    let by_noise = {
        let p = (*flow).clone();
        differences(&mut uneven, |q| bound(&p, q, &given))
    };
    for found in [&mut one, &mut other, &mut both] {
        near(&gradients(&flow, found), &by_density);
        near(&gradients(&uneven, found), &by_noise);
    }
}

#[test]
fn images_are_dequantised_given_means_of_blocks() {
    let cpu = Cpu::default();
    let levels = Rows::new((0..8 * 4).map(|i| f64::from(i * 7 % 32)).collect(), 4).unwrap();
    let means: Vec<f64> = levels.values().chunks(2).map(|pair| pair[0] + pair[1]).collect();
    let levels = levels.given(means.iter().map(|m| m / 64.0).collect(), 2).unwrap();
    let bits = Bits::new(5).unwrap();
    let mut flow = Picture::<f64>::build(&cpu, 0).unwrap();
    let x = bits.dequantize(&levels, &Noise::seed(1)).unwrap();
    flow.initialize(x.x::<Image<1, 2, 2>>().unwrap()).unwrap();
    let mut q = PictureNoise::<f64>::build(&cpu, 1).unwrap();
    let loss = |q: &flow_core::Flow<_, f64, Cpu>| {
        let k = levels.x::<Image<1, 2, 2>>().unwrap().leaky_trace();
        let view = q.given(levels.context::<2>().unwrap());
        bits.bound(&*flow, &view, k, &mut Noise::seed(2)).unwrap().sum::<Rank0, _>()
    };
    let found = gradients(&q, &mut loss(&q).backward());
    near(&found, &differences(&mut q, |q| loss(q).array()));
    // At a temperature the samples would not be those of the density.
    let k = levels.x::<Image<1, 2, 2>>().unwrap();
    let view = q.given(levels.context::<2>().unwrap()).temperature(0.1);
    let cold = bits.bound(&*flow, &view, k, &mut Noise::seed(2)).unwrap();
    assert_eq!(cold.sum::<Rank0, _>().array(), loss(&q).array());
}

#[test]
fn both_flows_are_trained_jointly_and_the_bound_tightens() {
    let rows = Rows::<f64>::from_tensor(cells()).unwrap();
    let rows = rows.given(context(&cells()).as_vec(), 2).unwrap();
    let even = Even::<f64>::build(&Cpu::default(), 1).unwrap();
    let mut models = (density(), even);
    // The density stays as it is, so that only a tighter bound can help.
    models.0.freeze("*").unwrap();
    let mut noise = Noise::seed(3);
    let bound = |models: &(Density<f64>, Even<f64>), rows: &Rows<f64>, noise: &mut Noise| {
        let view = models.1.given(rows.context::<2>()?);
        two().bound(&models.0, &view, rows.x::<Vector<2>>()?, noise)
    };
    let gap = |models: &(Density<f64>, Even<f64>)| {
        let draws = (0..200).map(|i| {
            let found = bound(models, &rows, &mut Noise::seed(i)).unwrap().as_vec();
            found.iter().sum::<f64>() / 16.0
        });
        let exact = cells().as_vec().chunks(2).map(|cell| exact(&models.0, cell)).sum::<f64>();
        exact / 16.0 - draws.sum::<f64>() / 200.0
    };
    let before = gap(&models);
    let trainer = Trainer::new(Adam::new(1e-2)).batch_size(16).steps(300).silent();
    trainer
        .fit_with(&mut models, &rows, |models, batch, grads| {
            let view = models.1.given(batch.context::<2>()?);
            let k = batch.x::<Vector<2>>()?.traced(grads);
            Ok(two().bound(&models.0, &view, k, &mut noise)?.mean().negate())
        })
        .unwrap();
    let after = gap(&models);
    assert!(after < 0.5 * before && after > -0.01, "a gap of {before} nats became {after}");
}

#[test]
fn streams_of_levels_train_a_flow() {
    let bits = Bits::new(3).unwrap();
    let noise = Noise::seed(1);
    let row = |i: u64| [2.0 + noise.below(2 * i, 2) as f32, 5.0 + noise.below(2 * i + 1, 3) as f32];
    let (train, held_out) =
        Rows::from_rows((0..600).map(row)).unwrap().split(0.2, &mut Noise::seed(1)).unwrap();
    let mut flow = Density::<f32>::build(&Cpu::default(), 0).unwrap();
    let before = bits.evaluate(&flow, &held_out, &noise).unwrap();
    let batches = bits.dequantized(train.validated_by(held_out.clone()), &noise).unwrap();
    let trainer = Trainer::new(Adam::new(1e-2)).batch_size(64).epochs(5).silent();
    let history = trainer.fit(&mut flow, batches).unwrap();
    let after = bits.evaluate(&flow, &held_out, &noise).unwrap();
    assert!(after.mean < before.mean - 0.3, "{before:?} {after:?}");
    assert!(history.records.iter().all(|r| r.validation_loss.is_none_or(f64::is_finite)));
}

#[test]
fn what_cannot_be_dequantised_is_an_error() {
    let flow = density();
    let cpu = Cpu::default();
    let even = Even::<f64>::build(&cpu, 1).unwrap();
    let bad: Rows2 = tensor(vec![0.0, 1.0, 4.0, 0.0]);
    let error = two().bound(&flow, &even.given(bad.clone()), bad.clone(), &mut Noise::seed(0));
    let error = error.err().unwrap().to_string();
    assert!(error.starts_with("entry 0 of row 1 of the levels is 4, expected"), "{error}");
    let narrow = PictureNoise::<f64>::build(&cpu, 1).unwrap();
    let error = two().bound(&flow, &narrow.given(cells()), cells(), &mut Noise::seed(0)).err();
    assert!(matches!(error, Some(FlowError::Length { found: 4, expected: 2, .. })), "{error:?}");
    let mut mixed = Mixed::<f64>::build(&cpu, 1).unwrap();
    let traced = |mixed: &Mixed<f64>| {
        let view = mixed.given(cells());
        two().bound(&flow, &view, cells().leaky_trace(), &mut Noise::seed(0)).err()
    };
    let error = traced(&mixed).unwrap().to_string();
    assert!(error.contains("base distribution"), "{error}");
    let view = mixed.given(cells());
    assert!(two().bound(&flow, &view, cells(), &mut Noise::seed(0)).is_ok());
    mixed.freeze("base.*").unwrap();
    assert!(traced(&mixed).is_none());
}

#[test]
fn padding_lengthens_vectors_and_adds_channels() {
    let cpu = Cpu::default();
    let x = cpu.tensor([[[[1.0, 2.0, 3.0]]], [[[4.0, 5.0, 6.0]]]]);
    let x: Tensor<Rank4<2, 1, 1, 3>, f64, Cpu> = x;
    let padded = pad::<2, _>(x.clone()).unwrap();
    assert_eq!(padded.array()[1], [[[4.0, 5.0, 6.0]], [[0.0; 3]]]);
    assert_eq!(slice::<1, _>(padded).unwrap().array(), x.array());
    assert_eq!(pad::<1, _>(x.clone()).unwrap().array(), x.array());

    let mut noise = Noise::seed(4);
    let (padded, log_q) = pad_noise::<3, _>(x.clone(), 0.3, &mut noise).unwrap();
    assert_eq!(slice::<1, _>(padded.clone()).unwrap().array(), x.array());
    for (image, log_q) in padded.array().iter().zip(log_q.array()) {
        let want = image[1..]
            .iter()
            .flatten()
            .flatten()
            .map(|e| -0.5 * (e / 0.3).powi(2) - 0.3f64.ln() - 0.5 * std::f64::consts::TAU.ln());
        assert!((log_q - want.sum::<f64>()).abs() < 1e-12);
    }
    let (again, _) = pad_noise::<3, _>(x.clone(), 0.3, &mut noise).unwrap();
    assert_ne!(again.array(), padded.array());
    let (same, log_q) = pad_noise::<1, _>(x.clone(), 0.3, &mut noise).unwrap();
    assert_eq!((same.array(), log_q.array()), (x.array(), [0.0; 2]));
}

#[test]
fn noise_has_the_deviation_it_was_given() {
    let x = tensor::<1>(vec![0.0; 5000]);
    let (padded, _) = pad_noise::<2, _>(x, 0.3, &mut Noise::seed(4)).unwrap();
    let noise: Vec<f64> = padded.as_vec().chunks(2).map(|row| row[1] / 0.3).collect();
    let (mean, error) = moments(&noise);
    assert!(mean.abs() < 4.0 * error);
    let (variance, error) = moments(&noise.iter().map(|e| e * e).collect::<Vec<_>>());
    assert!((variance - 1.0).abs() < 4.0 * error);
}

/// Σ over rows of a weighted sum of entries, whose gradient is the weights.
#[test]
fn gradients_go_through_padding_and_slices() {
    let cpu = Cpu::default();
    let flow = Wide::<f64>::build(&cpu, 2).unwrap();
    let x = tensor::<2>(vec![0.3, -0.4, 1.0, 0.2, -0.7, 0.5]);
    let loss = |x: &Rows2| -> f64 {
        let (x, log_q) = pad_noise::<3, _>(x.clone(), 0.5, &mut Noise::seed(1)).unwrap();
        (flow.log_prob(x).unwrap() - log_q).sum::<Rank0, _>().array()
    };
    let (padded, log_q) = pad_noise::<3, _>(x.leaky_trace(), 0.5, &mut Noise::seed(1)).unwrap();
    let total = (flow.log_prob(padded).unwrap() - log_q).sum::<Rank0, _>();
    assert!((total.array() - loss(&x)).abs() < 1e-12);
    let found = total.backward().get(&x).as_vec();
    let want: Vec<f64> = (0..6)
        .map(|i| {
            let side = |by: f64| {
                let mut moved = x.as_vec();
                moved[i] += by;
                loss(&tensor(moved))
            };
            (side(1e-5) - side(-1e-5)) / 2e-5
        })
        .collect();
    near(&found, &want);

    // A tensor that dfdx permuted has its numbers in another order than its shape says.
    let columns: Tensor<Rank2<3, 2>, f64, Cpu> = cpu.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    let kept = slice::<2, _>(columns.leaky_trace().permute::<Rank2<2, 3>, _>()).unwrap();
    assert_eq!(kept.array(), [[1.0, 3.0], [2.0, 4.0]]);
    let weights = cpu.tensor([[1.0, 10.0], [100.0, 1000.0]]);
    let by = (kept * weights).sum::<Rank0, _>().backward().get(&columns).array();
    assert_eq!(by, [[1.0, 100.0], [10.0, 1000.0], [0.0, 0.0]]);
}

#[test]
fn dimensions_that_do_not_fit_are_errors() {
    let x = tensor::<3>(vec![0.0; 6]);
    let text = |error: Option<FlowError>| error.unwrap().to_string();
    let error = text(pad::<2, _>(x.clone()).err());
    assert_eq!(
        error,
        "the number of features to pad to is 2, expected at least 3, as many as there are"
    );
    let error = text(slice::<4, _>(x.clone()).err());
    assert_eq!(error, "the number of features to keep is 4, expected 1 to 3, as many as there are");
    assert!(slice::<0, _>(x.clone()).is_err());
    for deviation in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = text(pad_noise::<4, _>(x.clone(), deviation, &mut Noise::seed(0)).err());
        assert!(error.contains("expected a positive number"), "{error}");
    }
    let empty = Cpu::default().tensor_from_vec(Vec::<f64>::new(), (0usize, Const::<3>));
    assert!(matches!(pad::<4, _>(empty.clone()).err(), Some(FlowError::EmptyBatch { .. })));
    assert!(matches!(slice::<2, _>(empty).err(), Some(FlowError::EmptyBatch { .. })));
}
