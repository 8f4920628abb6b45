//! The scale key: `scale/<ns>/<name>`, replicas asked for beside a manifest that leaves them out. Pure.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Number(u32),
    Map(Map),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    replicas: u32,
}

/// Reads the value: a bare number or `{replicas: n}`.
///
/// # Errors
/// It is neither; the text says what would be right.
pub(super) fn parse(value: &[u8]) -> Result<u32, String> {
    match serde_yaml::from_slice(value) {
        Ok(Value::Number(replicas) | Value::Map(Map { replicas })) => Ok(replicas),
        Err(_) => {
            let text: String = String::from_utf8_lossy(value).chars().take(40).collect();
            Err(format!(
                "`{}` is no number of replicas: write 3 or {{replicas: 3}}",
                text.trim()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, replicas: Option<u32>) {
        assert_eq!(parse(text.as_bytes()).ok(), replicas, "{text}");
    }

    #[test]
    fn reads_a_number_or_a_map() {
        check("3", Some(3));
        check("3\n", Some(3));
        check("{replicas: 4}", Some(4));
        check("{\"replicas\": 0}", Some(0));
        check("replicas: 7", Some(7));
        check("", None);
        check("-1", None);
        check("1.5", None);
        check("{replicas: 4, more: 1}", None);
        check("garbage: [", None);
    }
}
