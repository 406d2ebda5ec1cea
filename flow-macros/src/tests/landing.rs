//! What has no runtime yet.

use super::analyse;

#[test]
fn other_errors_come_first() {
    let (_, problems) = analyse("struct A: Vector<3> { planar; actnrm; }", true);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "unknown block `actnrm`");
}
