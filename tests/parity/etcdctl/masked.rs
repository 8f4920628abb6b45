//! What etcdctl printed without what is a server's own: addresses, ids, sizes, times, versions, terms.

/// Fields of messages whose numbers are the server's own, as JSON and `-w fields` write them.
const OWN: [&str; 16] = [
    "cluster_id",
    "member_id",
    "raft_term",
    "ClusterID",
    "MemberID",
    "RaftTerm",
    "dbSize",
    "dbSizeInUse",
    "raftIndex",
    "raftAppliedIndex",
    "leader",
    "hash",
    "Hash",
    "RaftIndex",
    "RaftAppliedIndex",
    "DbSize",
];

/// The text with `#` for ids and times, and for the numbers of fields that are the server's own.
pub(super) fn masked(text: &str, address: &str) -> String {
    let mut text = text.replace(address, "ADDRESS");
    text = text.replace(concat!("+skep-", env!("CARGO_PKG_VERSION")), "");
    if crate::series() != "3.4" {
        // Ours says which release's answers it gives, whichever is asked beside it.
        text = text
            .replace("3.4.23", "VERSION")
            .replace("3.5.30", "VERSION");
    }
    let lines = text.lines().map(line);
    lines.collect::<Vec<_>>().join("\n")
}

fn line(line: &str) -> String {
    let mut line = words(line);
    for name in OWN {
        for mark in [format!("\"{name}\":"), format!("\"{name}\" :")] {
            line = number_after(&line, &mark);
        }
    }
    let is_name = |word: &str| line.starts_with(word);
    if is_name("\"Name\"") || is_name("\"PeerURL\"") || is_name("\"DBSize\"") || is_name("\"TTL\"")
    {
        return line.split(':').next().unwrap_or_default().into();
    }
    if line.contains("ADDRESS") {
        // Of tables and lists: sizes with units, terms, indexes, the member's name and the address of its peers.
        line = without_figures(&line);
        line = line.replace("default", "NAME").replace("skep", "NAME");
        return peers(&line);
    }
    if line.starts_with(['┌', '├', '└']) {
        // As wide as what stands between.
        return line.replace('─', "");
    }
    if line.starts_with("+-") || line.contains(" ENDPOINT ") || line.contains(" ID ") {
        return line
            .split(['-', ' ', '+'])
            .filter(|word| !word.is_empty())
            .collect();
    }
    line
}

/// Puts `#` for ids, which are numbers of more than 12 digits, and for times.
fn words(text: &str) -> String {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '.' || char == 'µ';
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|char: char| char.is_ascii_alphanumeric()) {
        masked.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(|char: char| !is_word(char)).unwrap_or(rest.len());
        let word = &rest[..end];
        rest = &rest[end..];
        let is_id = word.len() > 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_time = word.starts_with(|char: char| char.is_ascii_digit())
            && word.ends_with('s')
            && word
                .trim_end_matches(['m', 'µ', 's', 'n'])
                .parse::<f64>()
                .is_ok();
        masked.push_str(if is_id || is_time { "#" } else { word });
    }
    masked + rest
}

fn number_after(text: &str, mark: &str) -> String {
    let mut parts = text.split(mark);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let figures = part
            .trim_start()
            .trim_start_matches(|char: char| char.is_ascii_digit() || char == '#');
        out += mark;
        out += "#";
        out += figures;
    }
    out
}

/// Puts `#` for every number with its unit, and one space for many.
pub(super) fn without_figures(text: &str) -> String {
    let plain = |word: &str| -> String {
        let is_unit = ["kB", "MB", "B", "bytes"].contains(&word.trim_end_matches(','));
        let figures = |char: char| char.is_ascii_digit() || char == '#' || char == '.';
        if is_unit {
            return String::new();
        }
        let mut out = String::new();
        for char in word.chars() {
            if !figures(char) {
                out.push(char);
            } else if !out.ends_with('#') {
                out.push('#');
            }
        }
        out
    };
    let words = text.split(' ').map(plain);
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The addresses of peers: of etcd another port, of the embedded store that of clients.
fn peers(line: &str) -> String {
    line.replace("http://localhost:#", "ADDRESS")
        .replace("http://#:#", "ADDRESS")
        .replace("http://ADDRESS", "ADDRESS")
}
