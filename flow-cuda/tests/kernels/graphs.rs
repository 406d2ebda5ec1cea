use flow_cuda::kernels::rows::{add_repeated, fill, scaled_copy};
use flow_cuda::{Area, Device};

use super::Trial;

#[test]
fn what_is_captured_runs_again_on_the_same_memories_only() {
    let Some(mut trial) = Trial::new() else { return };
    let recording = &mut trial.recording;
    let [x, y, one] = [40, 40, 1].map(|len| recording.frame(len));
    let add = vec![add_repeated(x, one, 1.0)];
    let copy = vec![scaled_copy(y, x, 2.0), fill(one, 3.0)];
    let plan = std::mem::take(recording).finish(vec![add, copy]);
    let device = &trial.device;
    let mut frame = device.memory(plan.frame_len()).unwrap();
    device.write(&mut frame, one.offset, &[1.0]).unwrap();
    let tables = device.tables(plan.tables()).unwrap();
    let parts = [&plan.parts()[0][..], &plan.parts()[1][..]];
    let mut memory = |area| (area == Area::Frame).then_some(&frame);
    for part in parts {
        device.run(part, &mut memory, &tables).unwrap();
    }
    // A card whose kernels are waited for makes no graphs.
    let Some(graph) = device.capture(&parts, &mut memory, &tables).unwrap() else { return };
    for _ in 0..2 {
        assert!(device.replay(&graph, &mut memory, &tables).unwrap());
    }
    let mut found = [0.0; 40];
    device.read(&frame, y.offset, &mut found).unwrap();
    assert_eq!(found, [2.0 * (1.0 + 3.0 + 3.0); 40]);

    let other = device.memory(plan.frame_len()).unwrap();
    let mut elsewhere = |area| (area == Area::Frame).then_some(&other);
    assert!(!device.replay(&graph, &mut elsewhere, &tables).unwrap());
    let others = device.tables(&[1, 2, 3]).unwrap();
    assert!(!device.replay(&graph, &mut memory, &others).unwrap());
    device.read(&other, y.offset, &mut found).unwrap();
    assert_eq!(found, [0.0; 40]);
}
