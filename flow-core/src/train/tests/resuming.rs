//! Runs that go on from a checkpoint.

use super::*;

#[test]
fn a_resumed_run_ends_as_one_without_interruption() {
    for (i, optimizer) in optimizers().into_iter().enumerate() {
        let (train, held_out) = (data(90, 1), data(20, 2));
        let run = |trainer: Trainer| {
            let mut flow = plain();
            let history = trainer.fit(&mut flow, train.clone().validated_by(held_out.clone()));
            (weights(&flow), timeless(history.unwrap()))
        };
        let whole = run(full(optimizer));
        assert_eq!(whole.1.records.len(), 18);

        // Ended in good order after ten steps; killed then, with what was written after seven.
        let (path, killed) = (file(&format!("resume-{i}")), file(&format!("killed-{i}")));
        let (from, to) = (path.clone(), killed.clone());
        let (_, history) =
            run(full(optimizer).checkpoint(&path).checkpoint_every(7).watch(move |record| {
                if record.step < 10 {
                    return ControlFlow::Continue(());
                }
                std::fs::copy(&from, &to).unwrap();
                ControlFlow::Break(())
            }));
        assert_eq!((history.records.len(), history.ending), (10, Ending::Stopped));
        for path in [path, killed] {
            let resumed = run(full(optimizer).checkpoint(&path).resume());
            assert_eq!(resumed, whole, "{}", optimizer.name());
            let again = run(full(optimizer).checkpoint(&path).resume());
            assert_eq!(again, whole, "{}, when it was complete", optimizer.name());
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_resumed_stream_passes_over_what_was_used() {
    let batches = || (0..9).map(|i| data(5 + i % 3, i));
    let path = file("stream");
    let mut whole = plain();
    let trainer = || Trainer::new(Adam::new(0.1)).silent().checkpoint(&path).checkpoint_every(4);
    let history = trainer().fit(&mut whole, batches()).unwrap();
    assert_eq!(history.records.len(), 9);

    // The stream fails in its seventh batch; what was written after four goes on.
    let broken = batches().map(Ok).take(6).chain([Rows::new(vec![0.0, f64::NAN], 2)]);
    let error = trainer().fit(&mut plain(), broken).unwrap_err();
    assert!(matches!(error, FlowError::NonFinite { row: 0, entry: 1, .. }), "{error}");
    let mut resumed = plain();
    let again = trainer().resume().fit(&mut resumed, batches()).unwrap();
    assert_eq!(weights(&resumed), weights(&whole));
    assert_eq!(timeless(again), timeless(history));
    let short = trainer().resume().fit(&mut plain(), batches().take(3)).unwrap_err().to_string();
    assert!(short.contains("number of batches in the stream is 3"), "{short}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_changes_nothing() {
    let path = file("other");
    let rows = data(20, 1);
    let new = |optimizer: Optimizer| Trainer::new(optimizer).silent().checkpoint(&path).steps(3);
    new(Adam::default().into()).fit(&mut plain(), &rows).unwrap();
    let mut flow = plain();
    let before = weights(&flow);
    let mut refuse = |trainer: Trainer, expected: &str| {
        let error = trainer.resume().fit(&mut flow, &rows).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(weights(&flow), before);
    };
    refuse(new(Sgd::default().into()), "the optimizer of the checkpoint is Adam, that of");
    let averaged = file("averaged");
    new(Adam::default().into())
        .checkpoint(&averaged)
        .average(0.9)
        .fit(&mut plain(), &rows)
        .unwrap();
    refuse(new(Adam::default().into()).checkpoint(&averaged), "average of the weights is none");
    std::fs::remove_file(averaged).unwrap();
    refuse(new(Adam::default().into()).seed(8), "the seed of the checkpoint is 0");
    refuse(new(Adam::default().into()).batch_size(8), "the batch size of the checkpoint is 256");

    let mut other = Flow::<Tiny<2>, f64, Cpu>::build(&Cpu::default(), 0).unwrap();
    let given = rows.clone().given(vec![0.0, 0.0], 2).unwrap();
    let error = new(Adam::default().into()).resume().fit(&mut other, &given).unwrap_err();
    let FlowError::WeightsDiffer { differences, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(differences[0], "0.weight has shape [2, 0], expected [2, 2]");
    let mut single = Flow::<Tiny<0>, f32, Cpu>::build(&Cpu::default(), 0).unwrap();
    let error = new(Adam::default().into()).resume().fit(&mut single, &data32().unwrap());
    assert!(error.unwrap_err().to_string().contains("holds F64, expected f32"));

    let whole = std::fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() - 9], &whole[..5], b"not a checkpoint"] {
        std::fs::write(&path, bytes).unwrap();
        refuse(new(Adam::default().into()), "not a checkpoint");
    }
    std::fs::remove_file(&path).unwrap();
    let nowhere = Trainer::default().silent().steps(1).checkpoint("/nowhere/at/all");
    assert!(matches!(nowhere.fit(&mut flow, &rows), Err(FlowError::File { .. })));
}

#[test]
fn a_checkpoint_of_another_format_says_so_and_changes_nothing() {
    let path = file("format");
    let rows = data(20, 1);
    let trainer = || Trainer::default().silent().checkpoint(&path).steps(3);
    trainer().fit(&mut plain(), &rows).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut flow = plain();
    let before = weights(&flow);
    let mut refuse = |bytes: &[u8], expected: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = trainer().resume().fit(&mut flow, &rows).unwrap_err().to_string();
        let expected = format!("{}: {expected}", path.display());
        assert!(error.starts_with(&expected), "{error}\nexpected {expected}");
        assert_eq!(weights(&flow), before);
        assert!(std::fs::read(&path).unwrap() == bytes, "the file has changed");
    };

    // Another format comes before all else that does not fit, such as the optimizer.
    let note = |format: &str| format!("\"flow checkpoint\":\"{format}\"").into_bytes();
    let at = whole.windows(note("1").len()).position(|part| part == note("1")).expect("the note");
    for format in ["0", "2"] {
        let mut other = whole.clone();
        other.splice(at..at + note("1").len(), note(format));
        let adam = other.windows(4).position(|part| part == b"Adam").expect("the optimizer");
        other[adam..adam + 4].copy_from_slice(b"Eve!");
        let expected = format!(
            "the checkpoint has format {format}, this version of flow-core reads 1\nhelp: resume \
             with the version that wrote it, or begin anew with another file"
        );
        refuse(&other, &expected);
    }
    let mut word = whole.clone();
    word.splice(at..at + note("1").len(), note("x"));
    refuse(&word, "`flow checkpoint` is `x`, which cannot be read");

    // Cut in the length of the header, in the header, among the numbers, and before the last one.
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for cut in [0, 3, 8 + header / 2, 8 + header, (8 + header + whole.len()) / 2, whole.len() - 1] {
        refuse(&whole[..cut], "not a checkpoint: ");
    }

    // Weights alone are no checkpoint.
    plain().save(&path).unwrap();
    let saved = std::fs::read(&path).unwrap();
    refuse(&saved, "not a checkpoint: no `flow checkpoint`");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_loss_of_ones_own_trains_as_the_likelihood_does() {
    use crate::NormalizingFlow;
    let batches = || data(90, 1).validated_by(data(20, 2));
    for optimizer in optimizers() {
        let trainer = full(optimizer);
        let mut expected = plain();
        let history = trainer.fit(&mut expected, batches()).unwrap();
        let nll = |flow: &mut Plain, batch: &Rows<f64>, gradients| {
            let x = batch.x::<Vector<2>>()?.trace(gradients);
            Ok(flow.log_prob(x)?.mean().negate())
        };
        let mut flow = plain();
        let found = trainer.fit_with(&mut flow, batches(), nll).unwrap();
        assert_eq!(found.records.len(), history.records.len());
        for (found, expected) in weights(&flow).iter().zip(weights(&expected)) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        let ((_, found), (_, expected)) = (found.best.unwrap(), history.best.unwrap());
        assert!((found - expected).abs() < 1e-9);

        // And it resumes.
        let path = file("joint");
        let stop = |record: &Record| match record.step {
            10 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let interrupted = trainer.clone().checkpoint(&path);
        interrupted.clone().watch(stop).fit_with(&mut plain(), batches(), nll).unwrap();
        let mut resumed = plain();
        resumed.set("0.mark", &[7.0]).unwrap();
        interrupted.resume().fit_with(&mut resumed, batches(), nll).unwrap();
        assert_eq!(weights(&resumed), weights(&flow));
        // Buffers come back too.
        assert_eq!(resumed.buffers().next().unwrap().values, [0.0]);
        std::fs::remove_file(path).unwrap();
    }
}
