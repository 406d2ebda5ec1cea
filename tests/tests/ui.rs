//! Misuse, as rustc shows it to a user. Most diagnostics are tested in flow-macros as strings.

#[test]
fn errors_reach_the_user() {
    trybuild::TestCases::new().compile_fail("ui/err/*.rs");
}

/// The readme's messages are those above, but for the line that names the file; the flows it shows
/// with them are those files.
#[test]
fn the_readme_shows_what_rustc_prints() {
    let readme = include_str!("../../README.md");
    let cases: Vec<_> = std::fs::read_dir("ui/err")
        .expect("the cases")
        .map(|case| std::fs::read_to_string(case.expect("a case").path()).expect("text"))
        .collect();
    let blocks = |language: &str| -> Vec<&str> {
        let fence = format!("```{language}\n");
        let starts = readme.split(fence.as_str()).skip(1);
        starts.map(|block| block.split("```").next().unwrap_or(block)).collect()
    };
    let without_place = |text: &str| -> String {
        text.lines().filter(|line| !line.starts_with(" --> ")).flat_map(|l| [l, "\n"]).collect()
    };
    let messages: Vec<&str> =
        blocks("text").into_iter().filter(|block| block.starts_with("error")).collect();
    let flows = blocks("rust,compile_fail");
    assert!(messages.len() >= 3 && !flows.is_empty());
    for message in messages {
        assert!(cases.iter().any(|case| without_place(case) == message), "{message}");
    }
    for flow in flows {
        assert!(cases.iter().any(|case| case.starts_with(flow)), "{flow}");
    }
}
