//! Hands in the rules of a node whose engine has them in iptables-legacy: the second of each cluster. What is reached through it,
//! the matrix shows.

use super::cluster::Cluster;
use super::namespace::Namespace;
use super::trouble::{small, works};
use std::thread;
use std::time::Duration;

/// Our rule, in iptables' words.
const RULE: &str = "-m connmark --mark 0x64000000/0xff000000 -j ACCEPT";

/// Does something by hand on the second node, and waits until that is mended and counted.
fn is_mended(cluster: &mut Cluster, kind: &str, line: &str) {
    let node = &mut cluster.nodes[1];
    let before = node.drift(kind);
    node.space.run(line);
    node.until(line, |report| {
        report.drift.get(kind).copied().unwrap_or(0) > before && report.trouble.is_none()
    });
}

/// The rules of a chain of the second node.
fn rules(cluster: &Cluster, iptables: &str, chain: &str) -> Vec<String> {
    let said = cluster.node(2).space.run(&format!("{iptables} -S {chain}"));
    let rules = said.lines().filter_map(|line| line.strip_prefix("-A "));
    rules.map(str::to_owned).collect()
}

#[test]
fn what_hands_change_in_iptables_legacy_is_mended_and_counted() {
    is_mended_of("iptables-legacy", "192.0.2.7");
}

#[test]
fn what_hands_change_in_ip6tables_legacy_is_mended_and_counted() {
    is_mended_of("ip6tables-legacy", "2001:db8::7");
}

fn is_mended_of(program: &str, stranger: &str) {
    let mut cluster = small();
    let ours = format!("DOCKER-USER {RULE}");
    assert_eq!(rules(&cluster, program, "DOCKER-USER"), [&*ours]);
    let isolation = format!("{program} -N DOCKER-ISOLATION");
    cluster.node(2).space.run(&isolation);
    for line in [
        "-F DOCKER-USER",
        &format!("-I DOCKER-USER -s {stranger} -j RETURN"),
        &format!("-D {ours}"),
        // As engines 20.10 and 26 do with live-restore.
        "-I FORWARD -j DOCKER-ISOLATION",
    ] {
        is_mended(&mut cluster, "iptables", &format!("{program} {line}"));
        works(&cluster);
        let first = &rules(&cluster, program, "DOCKER-USER")[0];
        assert_eq!(first, &ours, "{line}");
    }
    // The engine knows its jump in the place where it put it itself.
    let forward = rules(&cluster, program, "FORWARD");
    let first = ["FORWARD -j DOCKER-USER", "FORWARD -j DOCKER-ISOLATION"];
    assert_eq!(forward[..2], first);
    let space = &cluster.node(2).space;
    space.run(&format!("{program} -C FORWARD -j DOCKER-USER"));
    space.run(&format!("{program} -C {ours}"));
}

#[test]
fn where_both_kinds_of_iptables_have_the_chain_the_rule_is_in_both() {
    let mut cluster = small();
    for rule in [
        "-N DOCKER-USER",
        "-A FORWARD -j DOCKER-USER",
        "-P FORWARD DROP",
    ] {
        cluster.node(2).space.run(&format!("iptables {rule}"));
    }
    is_mended(&mut cluster, "nftables", "iptables -F DOCKER-USER");
    is_mended(&mut cluster, "iptables", "iptables-legacy -F DOCKER-USER");
    for iptables in ["iptables", "iptables-legacy"] {
        let ours = format!("DOCKER-USER {RULE}");
        assert_eq!(rules(&cluster, iptables, "DOCKER-USER"), [ours]);
    }
    works(&cluster);
}

/// Waits until our rule is there.
fn is_back(space: &Namespace) {
    let check = format!("iptables-legacy -w -C DOCKER-USER {RULE}");
    for _ in 0..600 {
        if let (true, _) = space.attempt(&check) {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the rule does not come back");
}

#[test]
fn nothing_that_others_change_at_the_same_time_is_lost() {
    const CHANGES: u8 = 100;
    let cluster = small();
    let space = &cluster.node(2).space;
    let line = |number: u8| format!("-s 192.0.2.{number}/32 -j RETURN");
    space.run(&format!("iptables-legacy -w -A DOCKER-USER {}", line(0)));
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=CHANGES {
                let line = line(number);
                space.run(&format!("iptables-legacy -w -A DOCKER-USER {line}"));
            }
        });
        for _ in 0..CHANGES / 5 {
            space.attempt(&format!("iptables-legacy -w -D DOCKER-USER {RULE}"));
            is_back(space);
        }
    });
    let expected = (0..=CHANGES).map(|number| format!("DOCKER-USER {}", line(number)));
    let ours = format!("DOCKER-USER {RULE}");
    let expected: Vec<String> = [ours].into_iter().chain(expected).collect();
    assert_eq!(
        rules(&cluster, "iptables-legacy -w", "DOCKER-USER"),
        expected
    );
}

#[test]
fn what_rules_have_counted_stays_when_ours_is_put_back() {
    let mut cluster = small();
    works(&cluster);
    let counted = |cluster: &Cluster| -> u64 {
        let space = &cluster.node(2).space;
        let said = space.run("iptables-legacy -w -L FORWARD -v -x -n");
        let jump = said.lines().find(|line| line.contains("DOCKER-USER"));
        let packets = jump.and_then(|line| line.split_whitespace().next()?.parse().ok());
        packets.unwrap_or_else(|| panic!("{said}"))
    };
    let before = counted(&cluster);
    assert!(before > 0);
    is_mended(&mut cluster, "iptables", "iptables-legacy -F DOCKER-USER");
    assert!(counted(&cluster) >= before);
}
