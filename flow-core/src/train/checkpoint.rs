//! A run on disk.

use std::path::Path;

use super::history::{Guarded, Record, COLUMNS};
use super::learner::Learner;
use super::run::{Good, Run};
use super::store::{Reader, Writer};
use super::update::Moments;
use super::Trainer;
use crate::{Entry, FlowError, Result, Role, Scalar, Values};

const FORMAT: u32 = 1;

/// Writes all that a run needs to go on.
pub(super) fn save<E: Scalar>(
    path: &Path,
    trainer: &Trainer,
    learner: &mut impl Learner<E>,
    run: &Run<E>,
) -> Result<()> {
    let mut writer = Writer::default();
    writer.note("flow checkpoint", FORMAT);
    writer.note("optimizer", trainer.optimizer.name());
    writer.note("seed", trainer.seed);
    writer.note("batch size", trainer.batch_size);
    writer.note("epoch", run.place.epoch);
    writer.note("batch", run.place.batch);
    writer.note("step", run.step);
    writer.note("rate scale", run.rate_scale);
    writer.note("waited", run.waited);
    writer.note("validated", run.validated);
    let roll_backs = serde_json::to_string(&run.history.roll_backs);
    writer.note("roll backs", roll_backs.map_err(|error| FlowError::file(path, error))?);
    if let Some((step, loss)) = run.history.best {
        writer.note("best step", step);
        writer.note("best loss", loss);
    }

    let Guarded { steps, recomputed, between } = run.history.guard;
    writer.note("exploded.steps", steps);
    writer.note("exploded.recomputed", recomputed);
    let distrusted: Vec<_> = learner.watches().map(|watch| watch.distrusts().to_string()).collect();
    writer.note(DISTRUSTED, distrusted.join(" "));
    if let Some((first, last)) = between {
        writer.note("exploded.first", first);
        writer.note("exploded.last", last);
    }

    let values = learner.values()?;
    for Entry { name, shape, role, range } in learner.entries() {
        let part = match role {
            Role::Parameter => &values.parameters[range.clone()],
            Role::Buffer(_) => &values.buffers[range.clone()],
        };
        writer.numbers(format!("{WEIGHTS}{name}"), shape, part);
    }
    write_moments(&mut writer, "moments", &run.moments);
    writer.flat("average", &run.average);
    if let Some(best) = &run.best {
        writer.flat("best.parameters", &best.parameters);
        writer.flat("best.buffers", &best.buffers);
    }
    if let Some(good) = &run.good {
        writer.flat("good.parameters", &good.parameters);
        writer.flat("good.average", &good.average);
        write_moments(&mut writer, "good.moments", &good.moments);
    }
    let records: Vec<f64> = run.history.records.iter().flat_map(|r| r.to_row()).collect();
    writer.numbers("history", &[run.history.records.len(), COLUMNS], &records);
    writer.write(path)
}

const WEIGHTS: &str = "weights/";
const DISTRUSTED: &str = "inverse distrusted";

fn write_moments<E: Scalar>(writer: &mut Writer, name: &str, moments: &Moments<E>) {
    writer.note(&format!("{name}.steps"), moments.steps);
    writer.flat(format!("{name}.first"), &moments.first);
    writer.flat(format!("{name}.second"), &moments.second);
}

/// Reads a run, and puts its weights into the learner: all or nothing.
pub(super) fn load<E: Scalar>(
    path: &Path,
    trainer: &Trainer,
    learner: &mut impl Learner<E>,
) -> Result<Run<E>> {
    let bytes = std::fs::read(path).map_err(|error| FlowError::file(path, error))?;
    let reader = Reader::new(path, &bytes)?;
    let format: u32 = reader.note("flow checkpoint")?;
    if format != FORMAT {
        return Err(reader.wrong(format!(
            "the checkpoint has format {format}, this version of flow-core reads {FORMAT}\nhelp: \
             resume with the version that wrote it, or begin anew with another file"
        )));
    }
    same(&reader, "optimizer", trainer.optimizer.name().to_string())?;
    same(&reader, "seed", trainer.seed)?;
    same(&reader, "batch size", trainer.batch_size)?;

    let values = read_values(path, &reader, learner)?;
    let count = values.parameters.len();
    let mut run = Run::new(trainer, count);
    run.place.epoch = reader.note("epoch")?;
    run.place.batch = reader.note("batch")?;
    run.step = reader.note("step")?;
    run.rate_scale = reader.note("rate scale")?;
    run.waited = reader.note("waited")?;
    run.validated = reader.note("validated")?;
    run.moments = read_moments(&reader, "moments", &run.moments)?;
    run.average = read_average(&reader, "average", count)?;
    if trainer.average.is_none() && !run.average.is_empty() {
        let expected = "one, as the interrupted run had: trainer.average(decay)";
        return Err(FlowError::option("the trainer's average of the weights", "none", expected));
    }
    if reader.shape("best.parameters").is_some() {
        run.best = Some(Values {
            parameters: reader.flat("best.parameters", count)?,
            buffers: reader.flat("best.buffers", values.buffers.len())?,
        });
    }
    if reader.shape("good.parameters").is_some() {
        run.good = Some(Good {
            parameters: reader.flat("good.parameters", count)?,
            average: read_average(&reader, "good.average", count)?,
            moments: read_moments(&reader, "good.moments", &run.moments)?,
        });
    }
    if let Some(step) = reader.optional("best step")? {
        run.history.best = Some((step, reader.note("best loss")?));
    }
    let roll_backs: String = reader.note("roll backs")?;
    run.history.roll_backs =
        serde_json::from_str(&roll_backs).map_err(|error| reader.wrong(error))?;
    // Checkpoints of before there were guards have nothing to say of them.
    run.history.guard = Guarded {
        steps: reader.optional("exploded.steps")?.unwrap_or(0),
        recomputed: reader.optional("exploded.recomputed")?.unwrap_or(0),
        between: reader.optional("exploded.first")?.zip(reader.optional("exploded.last")?),
    };
    let records: Vec<f64> = reader.numbers("history")?;
    run.history.records = records.chunks_exact(COLUMNS).map(Record::from_row).collect();
    run.seconds = run.history.records.last().map_or(0.0, |record| record.seconds);

    let distrusted = read_distrusted(&reader)?;
    learner.set(&values.parameters, &values.buffers)?;
    for (i, watch) in learner.watches().enumerate() {
        watch.distrust(distrusted.get(i).copied().unwrap_or(false));
    }
    Ok(run)
}

/// Whether a guard has switched to recomputing for good, flow by flow.
fn read_distrusted(reader: &Reader<'_>) -> Result<Vec<bool>> {
    let text: String = reader.optional(DISTRUSTED)?.unwrap_or_default();
    let each: std::result::Result<_, _> = text.split_whitespace().map(str::parse).collect();
    each.map_err(|_| reader.wrong(format!("`{DISTRUSTED}` is `{text}`, which cannot be read")))
}

fn same<T>(reader: &Reader<'_>, name: &str, expected: T) -> Result<()>
where
    T: std::str::FromStr + PartialEq + std::fmt::Display,
{
    let found: T = reader.note(name)?;
    if found == expected {
        return Ok(());
    }
    Err(reader.wrong(format!(
        "the {name} of the checkpoint is {found}, that of the trainer {expected}\nhelp: resume \
         with the trainer of the interrupted run, or begin anew with another file"
    )))
}

fn read_values<E: Scalar>(
    path: &Path,
    reader: &Reader<'_>,
    learner: &impl Learner<E>,
) -> Result<Values<E>> {
    let mut differences = Vec::new();
    let mut values = Values { parameters: Vec::new(), buffers: Vec::new() };
    for Entry { name, shape, role, .. } in learner.entries() {
        let stored = format!("{WEIGHTS}{name}");
        match reader.shape(&stored) {
            None => differences.push(format!("{name} is missing")),
            Some(found) if found != *shape => {
                differences.push(format!("{name} has shape {found:?}, expected {shape:?}"));
            }
            Some(_) => match role {
                Role::Parameter => values.parameters.extend(reader.numbers::<E>(&stored)?),
                Role::Buffer(_) => values.buffers.extend(reader.numbers::<E>(&stored)?),
            },
        }
    }
    for name in reader.names().iter().filter_map(|name| name.strip_prefix(WEIGHTS)) {
        if !learner.entries().iter().any(|entry| entry.name == name) {
            differences.push(format!("{name} is left over"));
        }
    }
    if !differences.is_empty() {
        return Err(FlowError::WeightsDiffer {
            path: path.into(),
            flow: learner.name(),
            differences,
        });
    }
    Ok(values)
}

fn read_moments<E: Scalar>(
    reader: &Reader<'_>,
    name: &str,
    like: &Moments<E>,
) -> Result<Moments<E>> {
    Ok(Moments {
        steps: reader.note(&format!("{name}.steps"))?,
        first: reader.flat(&format!("{name}.first"), like.first.len())?,
        second: reader.flat(&format!("{name}.second"), like.second.len())?,
    })
}

fn read_average<E: Scalar>(reader: &Reader<'_>, name: &str, count: usize) -> Result<Vec<E>> {
    let average = reader.numbers(name)?;
    if average.is_empty() {
        return Ok(average);
    }
    reader.flat(name, count)
}
