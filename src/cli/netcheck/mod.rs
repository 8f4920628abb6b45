//! `skep netcheck`: tries from every node what its data plane should lead to, and names the hop that is broken.
//!
//! What should be is computed from the store as agents get it; the agents' own containers try it, so it goes the ways
//! that the nodes' kernels go. What is broken is tried once more from a newer view of the store: tasks come and go.

mod plan;
#[cfg(test)]
mod tests;
mod verdict;

use super::error::Error;
use super::print;
use super::reach;
use super::session::Session;
use crate::api::name::NodeName;
use crate::api::uid::ContainerId;
use crate::api::unit::Period;
use crate::controllers::task::agent::container::NAME;
use crate::dataplane::probe::{Asked, Outcome};
use crate::engine::{Engine, ExecRequest};
use crate::runtime::cache::Cache;
use crate::runtime::view;
use futures::StreamExt;
use plan::{Plan, plan};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};
use verdict::Verdict;

/// How long what is broken is left alone before it is tried once more: agents are told within tens of milliseconds.
const AGAIN: Duration = Duration::from_secs(2);

/// How long a node may take beside what its probes take.
const SPARE: Duration = Duration::from_secs(20);

/// How many probes a node tries at a time (`app/probe.rs`).
const AT_ONCE: u32 = 64;

/// The longest answer of a node, in bytes.
const LONGEST: usize = 64 << 20;

/// Arguments of `skep netcheck`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::period)]
    pub patience: Period,
    /// How to print it
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// How `netcheck` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let mut verdict = look(session, args.patience.0).await?;
    if !verdict.is_good() {
        session
            .terminal
            .note("something is broken: trying it once more");
        sleep(AGAIN).await;
        verdict = look(session, args.patience.0).await?;
    }
    match args.output {
        Some(Output::Json) => session.terminal.line(&print::json(&verdict.value()))?,
        Some(Output::Yaml) => session
            .terminal
            .write(print::yaml(&verdict.value()).as_bytes())?,
        None => session.terminal.line(&verdict.text())?,
    }
    match verdict.is_good() {
        true => Ok(()),
        false => Err(Error::Said(1)),
    }
}

/// Tries all once.
async fn look(session: &Session, patience: Duration) -> Result<Verdict, Error> {
    let cache = session.snapshot().await?;
    let mut plan = plan(&cache);
    if view::agents(&cache).is_empty() {
        return Err(Error::advised(
            "no node has an agent: there is nothing to check",
            "agents are there while managers run with --networks and a service is on a network",
        ));
    }
    let mut outcomes = tried(session, &cache, &mut plan, patience).await;
    // In the order of the checks; those of nodes that could not be asked are gone with them.
    plan.checks
        .retain(|check| outcomes.contains_key(&check.from));
    let all = plan.checks.iter().map(|check| {
        let of_node = outcomes.get_mut(&check.from);
        let next = of_node.and_then(|of_node| of_node.pop_front());
        next.unwrap_or_else(|| Outcome::Failed("it was not tried".into()))
    });
    let all = all.collect();
    Ok(Verdict::of(plan, all))
}

type Outcomes = BTreeMap<NodeName, std::collections::VecDeque<Outcome>>;

/// What came of each node's checks, of all nodes at once; a node that cannot be asked says why in the plan.
async fn tried(session: &Session, cache: &Cache, plan: &mut Plan, patience: Duration) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let asked = plan
        .members
        .iter()
        .filter(|member| member.trouble.is_none());
    let asked = asked.map(|member| {
        let own = plan.checks.iter().filter(|check| check.from == member.name);
        let probes: Vec<_> = own.map(|check| check.probe.clone()).collect();
        let name = member.name.clone();
        async move {
            (
                name.clone(),
                ask(session, cache, &name, probes, patience).await,
            )
        }
    });
    let asked: Vec<_> = asked.collect();
    for (name, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(answer) => drop(outcomes.insert(name, answer.into())),
            Err(why) => {
                let mut members = plan.members.iter_mut();
                if let Some(member) = members.find(|member| member.name == name) {
                    member.trouble = Some(why);
                }
            }
        }
    }
    outcomes
}

/// Has a node's agent try something.
async fn ask(
    session: &Session,
    cache: &Cache,
    node: &NodeName,
    probes: Vec<crate::dataplane::probe::Probe>,
    patience: Duration,
) -> Result<Vec<Outcome>, String> {
    let rounds = u32::try_from(probes.len()).unwrap_or(u32::MAX) / AT_ONCE + 1;
    let longest = patience * rounds + SPARE;
    let asked = Asked {
        patience_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        probes,
    };
    let engine = reach::engine(session, cache, node).await;
    let engine = engine.map_err(|error| error.chain())?;
    let answer = timeout(longest, converse(engine.as_ref(), &asked)).await;
    answer.unwrap_or_else(|_| Err(format!("its agent has not answered for {longest:?}")))
}

async fn converse(engine: &dyn Engine, asked: &Asked) -> Result<Vec<Outcome>, String> {
    let request = ExecRequest {
        command: ["/skep", "agent", "--probe"].map(String::from).into(),
        stdin: true,
        ..ExecRequest::default()
    };
    let agent = ContainerId::from(NAME);
    let io = engine.exec(&agent, &request).await;
    let mut io = io.map_err(|error| format!("its agent cannot be asked: {error}"))?;
    let mut line = serde_json::to_vec(asked).expect("probes have only text keys");
    line.push(b'\n');
    let written = async {
        io.input.write_all(&line).await?;
        io.input.flush().await
    };
    written
        .await
        .map_err(|error| format!("its agent does not listen: {error}"))?;
    let (mut said, mut errors) = (Vec::new(), String::new());
    while let Some(piece) = io.output.next().await {
        let piece = piece.map_err(|error| format!("its agent's answer broke: {error}"))?;
        match piece.is_stderr {
            true => errors += &String::from_utf8_lossy(&piece.bytes),
            false => said.extend(piece.bytes),
        }
        if said.len() > LONGEST {
            return Err("its agent's answer has no end".into());
        }
    }
    serde_json::from_slice(&said).map_err(|error| match errors.trim() {
        "" => format!("its agent's answer cannot be read: {error}"),
        // An agent of a version before this one does not know the flag.
        errors => format!("its agent says: {errors}"),
    })
}
