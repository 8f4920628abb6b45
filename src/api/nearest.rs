//! The nearest right word for a wrong one.

/// Words of Compose files and of Kubernetes that stand under another name here.
const ELSEWHERE: [(&str, &str); 16] = [
    ("environment", "env"),
    ("volumes", "mounts"),
    ("volumeMounts", "mounts"),
    ("entrypoint", "command"),
    ("cmd", "args"),
    ("containers", "container"),
    ("imagePullPolicy", "pullPolicy"),
    ("workdir", "workingDir"),
    ("stdin_open", "stdin"),
    ("update_config", "update"),
    ("updateConfig", "update"),
    ("rollback_config", "rollback"),
    ("restartPolicy", "restart"),
    ("terminationGracePeriodSeconds", "stopGracePeriod"),
    ("livenessProbe", "healthcheck"),
    ("targetPort", "target"),
];

/// Fields whose names are kept for later versions, with the field that stands beside them.
const LATER: [(&str, &str); 6] = [
    ("init", "container"),
    ("sidecars", "container"),
    ("job", "template"),
    ("suspend", "template"),
    ("dependsOn", "template"),
    ("autoscale", "template"),
];

/// Whether a later version will know `word` beside `words`.
pub fn is_later(word: &str, words: &[&str]) -> bool {
    LATER
        .iter()
        .any(|(later, beside)| *later == word && words.contains(beside))
}

/// The word among `words` that whoever wrote `wrong` most likely meant; none if nothing is near.
pub fn nearest<'a>(wrong: &str, words: &[&'a str]) -> Option<&'a str> {
    let known = ELSEWHERE.iter().find(|(word, _)| *word == wrong);
    if let Some(word) = known.and_then(|(_, right)| words.iter().find(|word| *word == right)) {
        return Some(word);
    }
    let plain = flat(wrong);
    words
        .iter()
        .map(|word| (distance(&plain, &flat(word)), *word))
        .min()
        .filter(|(distance, word)| *distance <= word.len().min(wrong.len()).div_ceil(3))
        .map(|(_, word)| word)
}

/// ``, did you mean `replicas`?`` or, with nothing near, the words that there are.
pub fn suggestion(wrong: &str, words: &[&str]) -> String {
    match nearest(wrong, words) {
        Some(word) => format!("did you mean `{word}`?"),
        None if words.is_empty() => "nothing is known here".to_owned(),
        None => format!("known here: {}", words.join(", ")),
    }
}

/// Without case and separators: `cap_add`, `cap-add` and `capAdd` are one word.
fn flat(word: &str) -> Vec<char> {
    word.chars()
        .take(64)
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_later_is_known_in_its_own_place_only() {
        assert!(is_later("init", &["container", "networks"]));
        assert!(!is_later("init", &["image", "command"]));
        assert!(!is_later("container", &["container"]));
    }

    #[test]
    fn a_slip_finds_its_word() {
        let words = ["replicas", "template", "capAdd", "mounts", "env", "ports"];
        let check = |wrong: &str, right: Option<&str>| {
            assert_eq!(nearest(wrong, &words), right, "{wrong}");
        };
        check("replcias", Some("replicas"));
        check("Replicas", Some("replicas"));
        check("cap_add", Some("capAdd"));
        check("port", Some("ports"));
        check("volumes", Some("mounts"));
        check("environment", Some("env"));
        check("zzzz", None);
        check("", None);
    }
}
