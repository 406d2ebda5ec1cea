//! Names with `*`, and the nearest of many names.

/// Whether `name` matches `pattern`, in which `*` stands for any text, also none.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The name with the fewest edits to `wanted`, if they are few.
pub(crate) fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let (distance, name) = names.map(|name| (edits(wanted, name), name)).min()?;
    (distance <= wanted.len().max(name.len()) / 2).then_some(name)
}

/// The Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &b) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(a != b)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, want) in [
            ("steps.*", "steps.0.net.1.weight", true),
            ("steps.*", "other.steps.0", false),
            ("*.weight", "0.net.1.weight", true),
            ("*.weight", "0.net.1.weights", false),
            ("0.*.bias", "0.net.2.bias", true),
            ("0.net", "0.net", true),
            ("0.net", "0.net.1", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} on {name}");
        }
    }

    #[test]
    fn the_nearest_name_needs_the_fewest_edits() {
        let names = ["0.net.0.weight", "0.net.0.bias", "1.log_scale"];
        assert_eq!(nearest("0.net.0.wieght", names.into_iter()), Some("0.net.0.weight"));
        assert_eq!(nearest("x", names.into_iter()), None);
    }
}
