//! Splits a command line into words as a POSIX shell would, without expanding anything.

/// The words of a line: quotes and backslashes as in a shell; `$`, `*`, `|` and the like stand for themselves.
///
/// # Errors
/// A quote is not closed, or the line ends in a backslash.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => single(&mut rest, word.get_or_insert_default())?,
            '"' => double(&mut rest, word.get_or_insert_default())?,
            '\\' => match rest.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("the command ends in a backslash".to_owned()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn single(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    loop {
        match rest.next() {
            Some('\'') => return Ok(()),
            Some(c) => word.push(c),
            None => return Err("the quote ' is not closed".to_owned()),
        }
    }
}

/// Between double quotes a backslash protects only `"`, `\`, `$`, `` ` `` and the end of a line.
fn double(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    let open = || "the quote \" is not closed".to_owned();
    loop {
        match rest.next().ok_or_else(open)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or_else(open)? {
                '\n' => {}
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        let check = |line: &str, words: &[&str]| {
            assert_eq!(split(line).expect(line), words, "{line}");
        };
        check("nginx -g 'daemon off;'", &["nginx", "-g", "daemon off;"]);
        check(
            r#"sh -c "echo \"hi\" $HOME""#,
            &["sh", "-c", "echo \"hi\" $HOME"],
        );
        check(r"a\ b c", &["a b", "c"]);
        check("a'b'\"c\"d", &["abcd"]);
        check("'' \"\"", &["", ""]);
        check(r#""a\nb""#, &[r"a\nb"]);
        check("  \n ", &[]);
        for broken in ["it's", "say \"hi", "end\\"] {
            assert!(split(broken).is_err(), "{broken}");
        }
    }
}
