use super::*;
use crate::blocks::{ActNorm, Diagonal, LinearLu};
use crate::engine::{Builder, Direction};
use crate::testing::{check_laws, single, Make};
use crate::LogDet;

type Three<B> = Level<B, Level<B, LastLevel<B>>>;

/// Seven features, of which four and then one go on.
struct Vectors;
impl Make<7, 0> for Vectors {
    type Block = Three<LinearLu>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        let shapes = [7, 4, 1].map(Shape::vector);
        let [first, second, third] = [0, 1, 2].map(|k| b.block(k, |b| LinearLu::new(b, shapes[k])));
        let last = LastLevel::new(third?, shapes[2])?;
        Level::new(first?, Level::new(second?, last, shapes[1], 1)?, shapes[0], 4)
    }
}

/// Five channels of 2 × 3 pixels, of which three and then one go on.
struct Images;
impl Make<30, 0> for Images {
    type Block = Three<ActNorm>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        let shapes = [5, 3, 1].map(|channels| Shape::image(channels, 2, 3));
        let [first, second, third] = [0, 1, 2].map(|k| b.block(k, |b| ActNorm::new(b, shapes[k])));
        let last = LastLevel::new(third?, shapes[2])?;
        Level::new(first?, Level::new(second?, last, shapes[1], 1)?, shapes[0], 3)
    }
}

#[test]
fn laws_hold() {
    check_laws::<Vectors, 7, 0>();
    check_laws::<Images, 30, 0>();
}

/// Features-major samples, scaled level by level and cut by hand.
fn oracle(sample: &[f64], pixels: usize, scales: [&[f64]; 3], keeps: [usize; 3]) -> Vec<f64> {
    let mut channels: Vec<Vec<f64>> = sample.chunks_exact(pixels).map(<[f64]>::to_vec).collect();
    let mut latent = Vec::new();
    for (scale, keep) in scales.into_iter().zip(keeps) {
        for (channel, log_scale) in channels.iter_mut().zip(scale) {
            channel.iter_mut().for_each(|v| *v *= log_scale.exp());
        }
        let rest = channels.split_off(keep);
        latent.extend(rest.concat());
    }
    latent
}

struct Scaled<const PIXELS: usize>;
impl<const PIXELS: usize, const D: usize> Make<D, 0> for Scaled<PIXELS> {
    type Block = Three<Diagonal>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        let shapes = [7, 5, 2].map(|channels| Shape::image(channels, PIXELS / 2, 2));
        let [first, second, third] = [0, 1, 2].map(|k| b.block(k, |b| Diagonal::new(b, shapes[k])));
        let last = LastLevel::new(third?, shapes[2])?;
        Level::new(first?, Level::new(second?, last, shapes[1], 2)?, shapes[0], 5)
    }
}

fn the_layout_is_that_of_the_oracle<const PIXELS: usize, const D: usize>() {
    let mut machine = single::<Scaled<PIXELS>, D, 0>();
    let logs: Vec<f64> = (0..14).map(|i| (i * 5 % 14) as f64 / 7.0 - 1.0).collect();
    machine.step(|p| p.copy_from_slice(&logs)).unwrap();
    for rows in [1, 3, 40] {
        // Channels first for the oracle, channels last for the engine's blocks.
        let first: Vec<f64> = (0..rows * D).map(|i| (i * 17 % 101) as f64).collect();
        let mut x = first.clone();
        for (row, sample) in x.chunks_exact_mut(D).zip(first.chunks_exact(D)) {
            for at in 0..D {
                row[at % PIXELS * 7 + at / PIXELS] = sample[at];
            }
        }
        let before = x.clone();
        machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        for (row, sample) in x.chunks_exact(D).zip(first.chunks_exact(D)) {
            let scales = [&logs[..7], &logs[7..12], &logs[12..]];
            let want = oracle(sample, PIXELS, scales, [5, 2, 0]);
            assert!(row.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12 * (1.0 + b)));
        }
        machine.run(Direction::Inverse, &mut x, &[], None).unwrap();
        assert!(x.iter().zip(&before).all(|(a, b)| (a - b).abs() < 1e-12 * (1.0 + b)));
    }
}

#[test]
fn parts_stand_in_the_order_in_which_they_were_factored_out() {
    the_layout_is_that_of_the_oracle::<2, 14>();
    the_layout_is_that_of_the_oracle::<6, 42>();
}

#[test]
fn every_level_is_initialised_from_what_goes_on() {
    let mut machine = single::<Images, 30, 0>();
    let batch: Vec<f64> = (0..90).map(|i| f64::from(i * i % 31)).collect();
    machine.initialize(&mut batch.clone(), &[], 3).unwrap();
    let mut x = batch;
    machine.run(Direction::Forward, &mut x, &[], None).unwrap();
    let mean = x.iter().sum::<f64>() / 90.0;
    let variance = x.iter().map(|v| v * v).sum::<f64>() / 90.0;
    assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12, "{mean} {variance}");
    // The first level leaves nothing to do for the others.
    let later = &machine.state().values.parameters[10..];
    assert!(later.iter().all(|v| v.abs() < 1e-12), "{later:?}");
}

#[test]
fn a_part_without_features_is_refused() {
    let body = || Diagonal::new(&mut Builder::<f64>::new(0), Shape::vector(3)).unwrap();
    for keep in [0, 3, 4] {
        let text = Level::new(body(), body(), Shape::vector(3), keep).unwrap_err().to_string();
        assert!(text.contains(&format!("keep is {keep}, expected at least 1")), "{text}");
    }
}

/// Known only by its facts: scales by ½.
struct Half;
impl Block<f64> for Half {
    fn forward(&self, _: &mut Pass<'_, f64>, x: &mut [f64], _: &mut [f64]) -> Result<()> {
        x.iter_mut().for_each(|v| *v *= 0.5);
        Ok(())
    }
    fn inverse(&self, _: &mut Pass<'_, f64>, z: &mut [f64], _: &mut [f64]) -> Result<()> {
        z.iter_mut().for_each(|v| *v *= 2.0);
        Ok(())
    }
    fn forward_vjp(&self, p: &mut Pass<'_, f64>, g: &mut [f64], _: &[f64]) -> Result<()> {
        self.forward(p, g, &mut [])
    }
    fn inverse_vjp(&self, p: &mut Pass<'_, f64>, g: &mut [f64], _: &[f64]) -> Result<()> {
        self.inverse(p, g, &mut [])
    }
    fn facts(&self) -> Facts {
        let (log_det, forward, inverse) = (LogDet::Constant, 0.5, 2.0);
        Facts { log_det, forward, inverse, ..Facts::ISOMETRY }
    }
}

#[test]
fn what_does_not_go_on_is_not_contracted() {
    let shape = Shape::vector(2);
    let last = LastLevel::new(Half, Shape::vector(1)).unwrap();
    let facts = Block::<f64>::facts(&Level::new(Half, last, shape, 1).unwrap());
    assert_eq!((facts.forward, facts.inverse), (0.5, 4.0));
    assert_eq!(facts.log_det, LogDet::Constant);
}
