//! Whether two samples come from one distribution.

use dfdx::prelude::{
    binary_cross_entropy_with_logits_loss, BuildOnDevice, DeviceBuildExt, Linear, Module, ReLU,
    Trace,
};
use flow_core::prelude::*;
use flow_core::Cpu;

use crate::Result;

/// The unbiased estimate of the squared maximum mean discrepancy of two samples, rows of `width`
/// numbers, under the kernel `exp(−‖x − y‖²/(2σ²))`. Its mean is 0 where both have one
/// distribution, so it can be negative. (Gretton, Borgwardt, Rasch, Schölkopf and Smola 2012, "A
/// kernel two-sample test", equation 3.)
///
/// # Errors
/// Samples that are not at least two whole rows.
pub fn mmd(a: &[f32], b: &[f32], width: usize, sigma: f64) -> Result<f64> {
    check(&[a, b], width)?;
    let [a_rows, b_rows] = [a, b].map(|sample| (sample.len() / width) as f64);
    let within = |sample: &[f32], rows: f64| {
        // Every row meets itself once, with a kernel of 1.
        (kernel_sum(sample, sample, width, sigma) - rows) / (rows * (rows - 1.0))
    };
    let between = kernel_sum(a, b, width, sigma) / (a_rows * b_rows);
    Ok(within(a, a_rows) + within(b, b_rows) - 2.0 * between)
}

/// The median distance of two rows, a usual `σ`: of the first 2,000 rows.
///
/// # Errors
/// A sample that is not at least two whole rows.
pub fn median_distance(sample: &[f32], width: usize) -> Result<f64> {
    check(&[sample], width)?;
    let rows: Vec<&[f32]> = sample.chunks_exact(width).take(2000).collect();
    let pairs = rows.iter().enumerate().flat_map(|(i, a)| rows[..i].iter().map(move |b| (a, b)));
    let mut distances: Vec<f32> = pairs.map(|(a, b)| squared_distance(a, b)).collect();
    let middle = distances.len() / 2;
    let (_, median, _) = distances.select_nth_unstable_by(middle, f32::total_cmp);
    Ok(f64::from(*median).sqrt())
}

fn kernel_sum(a: &[f32], b: &[f32], width: usize, sigma: f64) -> f64 {
    let factor = (-0.5 / (sigma * sigma)) as f32;
    let row = |x: &[f32]| -> f64 {
        let kernels = b.chunks_exact(width).map(|y| (factor * squared_distance(x, y)).exp());
        kernels.map(f64::from).sum()
    };
    a.chunks_exact(width).map(row).sum()
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn check(samples: &[&[f32]], width: usize) -> Result {
    for sample in samples {
        if sample.len() < 2 * width || sample.len() % width != 0 {
            let found = sample.len();
            return Err(format!("{found} numbers, expected rows of {width}, at least two").into());
        }
    }
    Ok(())
}

/// Folds of the cross-validation.
const FOLDS: usize = 5;

type Layers = (Linear<2, 20>, ReLU, Linear<20, 20>, ReLU, Linear<20, 1>);
type Net = <Layers as BuildOnDevice<Cpu, f32>>::Built;

/// How often a classifier that was trained to tell two samples of pairs apart is right on pairs it
/// has not seen: 0.5 where they cannot be told apart, 1 where they always can. (Lopez-Paz and
/// Oquab 2017, "Revisiting classifier two-sample tests".)
///
/// Both samples are shifted and scaled by the moments of the first. The classifier has two hidden
/// layers of 20, ten for each dimension as in the benchmark of Lueckmann et al. (2021), and stops
/// when its loss on a tenth of its training data has not improved for ten epochs. The accuracy is
/// the mean over five folds.
///
/// # Errors
/// Samples of other sizes than each other's, or fewer than fifty pairs.
pub fn c2st(a: &[f32], b: &[f32], seed: u64) -> Result<f64> {
    check(&[a, b], 2)?;
    if a.len() != b.len() || a.len() < 100 {
        let (a, b) = (a.len() / 2, b.len() / 2);
        return Err(format!("{a} and {b} pairs, expected as many of each, at least 50").into());
    }
    let scaled = standardized(a, b);
    let labels = (0..scaled.len() / 2).map(|i| if i < a.len() / 2 { 0.0 } else { 1.0 });
    let all = Rows::new(scaled, 2)?.given(labels.collect(), 1)?;
    // As many of either in every fold: else a classifier that says what is more frequent in
    // training is less often right than by chance.
    let each = a.len() / 2;
    let order = Noise::seed(seed).named("folds").permutation(each);
    let mut right = 0;
    for fold in 0..FOLDS {
        let (test, train): (Vec<_>, Vec<_>) =
            order.iter().enumerate().partition(|(i, _)| i % FOLDS == fold);
        let both = |part: Vec<(usize, &usize)>| {
            gather(&all, part.into_iter().flat_map(|(_, &place)| [place, place + each]))
        };
        let [test, train] = [test, train].map(both);
        let (test, net) = (test?, classifier(train?, seed + fold as u64)?);
        let logits = net.forward(test.x::<Vector<2>>()?).as_vec();
        let said = logits.iter().zip(test.context_values());
        right += said.filter(|(&logit, &label)| (logit > 0.0) == (label > 0.5)).count();
    }
    Ok(right as f64 / all.len() as f64)
}

fn classifier(data: Rows<f32>, seed: u64) -> Result<Net> {
    let (train, held_out) = data.split(0.1, &mut Noise::seed(seed))?;
    let mut net = Cpu::seed_from_u64(seed).build_module::<Layers, f32>();
    let trainer = Trainer::new(Adam::new(1e-3)).batch_size(200).epochs(200).patience(10);
    trainer.seed(seed).silent().fit_with(
        &mut net,
        train.validated_by(held_out),
        |net, batch, gradients| {
            let logits = net.forward(batch.x::<Vector<2>>()?.traced(gradients));
            Ok(binary_cross_entropy_with_logits_loss(logits, batch.context::<1>()?))
        },
    )?;
    Ok(net)
}

/// Both samples of pairs, one behind the other, in units of the first one's deviation from its
/// mean.
fn standardized(a: &[f32], b: &[f32]) -> Vec<f32> {
    let moments = [0, 1].map(|column| {
        let values = || a.iter().skip(column).step_by(2).map(|&v| f64::from(v));
        let rows = (a.len() / 2) as f64;
        let mean = values().sum::<f64>() / rows;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / (rows - 1.0);
        (mean as f32, variance.sqrt() as f32)
    });
    let scaled = |(i, v): (usize, &f32)| (v - moments[i % 2].0) / moments[i % 2].1;
    a.iter().chain(b).enumerate().map(scaled).collect()
}

fn gather(all: &Rows<f32>, places: impl Iterator<Item = usize>) -> Result<Rows<f32>> {
    let (mut x, mut labels) = (Vec::new(), Vec::new());
    for i in places {
        x.extend_from_slice(&all.values()[2 * i..2 * i + 2]);
        labels.push(all.context_values()[i]);
    }
    Ok(Rows::new(x, 2)?.given(labels, 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(rows: usize, shift: f32, seed: u64) -> Vec<f32> {
        let mut sample = vec![0.0; 2 * rows];
        Noise::seed(seed).fill_normal(0, &mut sample);
        sample.iter_mut().step_by(2).for_each(|v| *v += shift);
        sample
    }

    #[test]
    fn the_discrepancy_of_three_points_is_that_of_the_formula() {
        // One number a row: 0 and 1 against 0 and 3.
        let kernel = |distance: f64| (-0.5 * distance * distance / 4.0).exp();
        let between = (kernel(0.0) + kernel(3.0) + kernel(1.0) + kernel(2.0)) / 4.0;
        let want = kernel(1.0) + kernel(3.0) - 2.0 * between;
        let found = mmd(&[0.0, 1.0], &[0.0, 3.0], 1, 2.0).unwrap();
        assert!((found - want).abs() < 1e-6, "{found} {want}");
        assert_eq!(median_distance(&[0.0, 3.0, 4.0], 1).unwrap(), 3.0);
        assert!(mmd(&[0.0, 1.0, 2.0], &[0.0; 4], 2, 1.0).is_err());
    }

    #[test]
    fn the_discrepancy_tells_samples_apart() {
        let reference = normal(500, 0.0, 1);
        let sigma = median_distance(&reference, 2).unwrap();
        // The median of a Rayleigh distribution of scale √2.
        assert!((sigma - 2.0 * 2f64.ln().sqrt()).abs() < 0.1, "{sigma}");
        let same = mmd(&reference, &normal(500, 0.0, 2), 2, sigma).unwrap();
        assert!(same.abs() < 0.006, "{same}");
        // The mean of the kernel of two normals is known, and so is the discrepancy.
        let other = mmd(&reference, &normal(500, 1.0, 2), 2, sigma).unwrap();
        let wide = sigma * sigma + 2.0;
        let want = 2.0 * sigma * sigma / wide * (1.0 - (-0.5 / wide).exp());
        assert!((other - want).abs() < 0.03, "{other} {want}");
    }

    #[test]
    fn a_classifier_tells_samples_apart_as_well_as_they_allow() {
        let reference = normal(500, 0.0, 1);
        let same = c2st(&reference, &normal(500, 0.0, 2), 0).unwrap();
        assert!((same - 0.5).abs() < 4.0 * (0.25_f64 / 1000.0).sqrt(), "{same}");
        // The best rule is right Φ(1) = 84 % of the time.
        let other = c2st(&reference, &normal(500, 2.0, 2), 0).unwrap();
        assert!((other - 0.8413).abs() < 0.05, "{other}");
        assert!(c2st(&reference, &reference[2..], 0).is_err());
    }
}
