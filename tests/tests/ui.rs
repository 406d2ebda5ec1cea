//! Misuse, as rustc shows it to a user. Most diagnostics are tested in flow-macros as strings.

#[test]
fn errors_reach_the_user() {
    trybuild::TestCases::new().compile_fail("ui/err/*.rs");
}
