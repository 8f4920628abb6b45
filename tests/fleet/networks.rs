//! Overlay networks between real tasks on engines of several versions.

use crate::see::Seen;
use crate::store::http_get;
use crate::support::fleet::Transport;
use crate::support::node::Node;
use crate::support::wait::until;
use crate::world::{SOON, World};
use skep::api::allocation::{Allocation, Owner};
use skep::api::cluster::Manager;
use skep::api::task::TaskState;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A task that says over HTTP on which node it is.
pub(crate) const SAYS_WHERE: &str = "{image: 'skep-test/busybox:1', stopSignal: SIGKILL, \
    command: [sh, -c, 'echo $SKEP_NODE >/tmp/index.html; httpd -f -p 80 -h /tmp']}";

/// What a node's kernel and engine show: links, rules, routes and the engine's chains, its networks and volumes.
pub(crate) async fn shown(node: &Node) -> String {
    let kernel = "ip -o link | cut -d: -f2 | grep -v veth; ip rule; ip route show table all | sed 's/ linkdown//' | sort; iptables-save | grep ^-A | sort";
    let kernel = node.exec(kernel).await;
    let networks = node
        .docker(&["network", "ls", "--format", "{{.Name}}"])
        .await;
    let volumes = node
        .docker(&["volume", "ls", "--format", "{{.Name}}"])
        .await;
    [kernel, networks, volumes].join("\n---\n")
}

/// Where a task is and at which address.
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) container: String,
    pub(crate) address: Ipv4Addr,
}

fn place(seen: &Seen) -> Option<Place> {
    let status = seen.status.as_ref()?;
    let running = status.state == TaskState::Running;
    let address = status.addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    Some(Place {
        node: seen.node.clone().filter(|_| running)?,
        container: status.container.as_ref()?.to_string(),
        address: address?,
    })
}

impl World {
    /// The running tasks of a service.
    pub(crate) async fn places(&self, service: &str) -> Vec<Place> {
        self.tasks(service).await.iter().filter_map(place).collect()
    }

    pub(crate) fn named(&self, name: &str) -> &Node {
        let mut nodes = self.fleet.nodes.iter();
        nodes.find(|node| node.name == name).expect("a node")
    }

    /// What a task gets from an address or a name; an error if nobody answers within four seconds.
    pub(crate) async fn ask(&self, from: &Place, host: impl Display) -> Result<String, String> {
        self.fetch(from, format!("http://{host}/")).await
    }

    /// The same of any page.
    pub(crate) async fn fetch(&self, from: &Place, url: String) -> Result<String, String> {
        // Not by wget's own -T, at which the static busybox crashes.
        let command = ["exec", &from.container, "wget", "-q", "-O", "-", &url];
        let asked = self.named(&from.node).try_docker(&command);
        let asked = tokio::time::timeout(Duration::from_secs(4), asked).await;
        asked.unwrap_or_else(|_| Err(format!("{url} did not answer")))
    }

    /// Waits until each task of one service hears each of another at its own address.
    pub(crate) async fn all_hear(&self, from: &str, to: &str) {
        let (callers, called) = (self.places(from).await, self.places(to).await);
        assert!(!callers.is_empty() && !called.is_empty());
        for caller in &callers {
            for task in &called {
                let what = format!(
                    "{from} on {} hears {to} on {} at {}",
                    caller.node, task.node, task.address
                );
                let heard = until(Duration::from_secs(20), &what, async || {
                    let heard = self.ask(caller, task.address).await;
                    heard.inspect_err(|error| eprintln!("    {error}")).ok()
                });
                assert_eq!(heard.await, task.node, "{what}");
            }
        }
    }

    /// The virtual address of a service.
    pub(crate) async fn virtual_address(&self, service: &str) -> Ipv4Addr {
        let prefix = "/skep/allocations/addresses/";
        let given: BTreeMap<String, Allocation> = self.records(prefix).await;
        let found = given.iter().find_map(|(key, given)| match &given.owner {
            Owner::Service { name, .. } if name.name.as_str() == service => {
                key.rsplit('/').next()?.parse().ok()
            }
            _ => None,
        });
        found.expect("the service has a virtual address")
    }

    /// The addresses that a name has for a task: what follows its question in what `nslookup` prints.
    async fn look_up(&self, from: &Place, name: &str) -> BTreeSet<String> {
        let command = ["exec", &from.container, "nslookup", name];
        let said = self.named(&from.node).try_docker(&command);
        let said = tokio::time::timeout(Duration::from_secs(10), said).await;
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        let answer = said.split_once("\n\n").map_or("", |(_, answer)| answer);
        let addresses = answer
            .lines()
            .filter_map(|line| line.strip_prefix("Address: "));
        addresses.map(|address| address.trim().to_owned()).collect()
    }

    /// Waits until a name has exactly these addresses for a task.
    pub(crate) async fn finds(&self, from: &Place, name: &str, addresses: &[Ipv4Addr]) {
        let addresses: Vec<IpAddr> = addresses.iter().copied().map(IpAddr::V4).collect();
        self.finds_both(from, name, &addresses).await;
    }

    /// The same of both versions.
    pub(crate) async fn finds_both(&self, from: &Place, name: &str, addresses: &[IpAddr]) {
        let what = format!("{name} is {addresses:?} on {}", from.node);
        let expected: BTreeSet<String> = addresses.iter().map(ToString::to_string).collect();
        let mut last = None;
        until(Duration::from_secs(20), &what, async || {
            let found = self.look_up(from, name).await;
            if last.as_ref() != Some(&found) {
                eprintln!("    {name} on {}: {found:?}", from.node);
            }
            let is_so = found == expected;
            last = Some(found);
            is_so.then_some(())
        })
        .await;
    }

    /// Waits until the manager shows what agents have reported by now.
    async fn agents_are_measured(&self) {
        let record: Manager = self.record("managers/m1").await.expect("it is registered");
        let address = record.metrics.expect("it serves metrics");
        let above = |text: &str, series: &str, least: f64| {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
            value.is_some_and(|value: f64| value > least)
        };
        let node = &self.fleet.nodes[0].name;
        let tracked = format!("skep_dataplane_connections_limit{{node=\"{node}\"}}");
        let series = [
            "skep_network_programming_duration_seconds_count",
            "skep_dns_queries_total{kind=\"a\"}",
            "skep_dns_outcomes_total{outcome=\"forwarded\"}",
            &tracked,
        ];
        for one in series {
            until(SOON, one, async || {
                let text = http_get(&address, "/metrics").await?;
                above(&text, one, 0.0).then_some(())
            })
            .await;
        }
    }

    /// Tries everything, and once more while a node drops what another one sends in VXLAN.
    async fn netcheck_names_what_is_broken(&self) {
        let (code, said) = self.skep(&["netcheck"]).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("nothing is broken"), "{said}");
        let (from, to) = (&self.fleet.nodes[0], &self.fleet.nodes[1]);
        let rule = format!("INPUT -s {} -p udp --dport 4789 -j DROP", from.address);
        to.exec(&format!("iptables -w -I {rule}")).await;
        let (code, said) = self.skep(&["netcheck", "--patience", "1s"]).await;
        to.exec(&format!("iptables -w -D {rule}")).await;
        assert_eq!(code, 1, "{said}");
        let hop = format!(
            "{} reaches {} at {}, and VXLAN between them is lost",
            from.name, to.name, to.address
        );
        assert!(said.contains(&hop), "{said}");
        let third = &self.fleet.nodes[2].name;
        let row = said.lines().find(|line| line.starts_with(third.as_str()));
        assert!(row.is_some_and(|row| !row.contains("BROKEN")), "{said}");
        let (code, said) = self.skep(&["netcheck", "-o", "json"]).await;
        assert_eq!(code, 0, "{said}");
    }

    /// Waits until calls to a virtual address or a name are answered by tasks on all of these nodes.
    pub(crate) async fn balances(&self, from: &Place, address: impl Display, nodes: usize) {
        let what = format!("{} reaches {nodes} nodes through {address}", from.node);
        let mut heard: BTreeMap<String, usize> = BTreeMap::new();
        until(Duration::from_secs(60), &what, async || {
            match self.ask(from, &address).await {
                Ok(node) => *heard.entry(node).or_default() += 1,
                Err(error) => eprintln!("    {what}: {error}"),
            }
            (heard.len() == nodes).then_some(())
        })
        .await;
        eprintln!("    {what}: {heard:?}");
    }
}

#[tokio::test]
async fn tasks_on_engines_of_several_versions_reach_each_other_and_leave_no_trace() {
    let mut world = World::new("networks", 3, Transport::Plain).await;
    let mut before = Vec::new();
    for node in &world.fleet.nodes {
        before.push(shown(node).await);
    }
    world.start_manager("m1", &["--networks"]);
    world.nodes_are_ready().await;
    world.put("networks/default/front", "{}").await;
    world.put("networks/default/back", "{}").await;
    let service = |networks: &str, replicas| {
        format!(
            "{{replicas: {replicas}, template: {{container: {SAYS_WHERE}, networks: {networks}, \
             placement: {{maxReplicasPerNode: 1}}}}}}"
        )
    };
    let front = "[{name: front, aliases: [www]}]";
    world.put_service("web", &service(front, 3)).await;
    world
        .put_service("both", &service("[front, back]", 3))
        .await;
    world.put_service("apart", &service("[back]", 1)).await;
    for (name, replicas) in [("web", 3), ("both", 3), ("apart", 1)] {
        world.settled(name, replicas).await;
    }
    for node in &world.fleet.nodes {
        let object = format!("nodes/{}", node.name);
        let ready = ("DataplaneReady", "True", "Programmed");
        world.condition_is(&object, "task", ready).await;
    }
    world.passed("every node has its agent, and tasks start once it has programmed them");

    for (name, networks) in [("web", 1), ("both", 2)] {
        for seen in world.tasks(name).await {
            let status = seen.status.expect("it runs");
            let all: BTreeSet<IpAddr> = status.addresses.into_iter().collect();
            let bridged: BTreeSet<IpAddr> = status.bridged.into_iter().map(IpAddr::V4).collect();
            assert_eq!(all.len(), networks);
            // Engine 28 chooses for the networks that a container joins after it was made.
            let is_so = bridged.is_subset(&all) && !bridged.is_empty();
            assert!(is_so, "{name}: {bridged:?} of {all:?}");
        }
    }
    world
        .passed("every engine gives tasks the hardware address that keeps their frames on bridges");

    world.all_hear("web", "web").await;
    let web = world.virtual_address("web").await;
    for place in world.places("web").await {
        world.balances(&place, web, 3).await;
    }
    world.passed("tasks reach each other across nodes by address and by virtual address");

    let web_tasks: Vec<Ipv4Addr> = world
        .places("web")
        .await
        .iter()
        .map(|p| p.address)
        .collect();
    for place in world.places("both").await {
        world.finds(&place, "web", &[web]).await;
        world.finds(&place, "web.default", &[web]).await;
        world.finds(&place, "tasks.web", &web_tasks).await;
        world.finds(&place, "www", &[web]).await;
        world.balances(&place, "web", 3).await;
        world.balances(&place, "tasks.web", 3).await;
        let first = world.ask(&place, "1.web").await;
        assert!(first.is_ok(), "{}: 1.web: {first:?}", place.node);
        // What is not ours is found as the node itself finds it.
        let other = &world.fleet.nodes[0];
        world
            .finds(&place, &other.container, &[other.address])
            .await;
    }
    world.passed("tasks find services, their tasks and what is outside by name on every node");

    world.agents_are_measured().await;
    world.passed("metrics tell how long changes took, what was asked, and what nodes track");

    world.netcheck_names_what_is_broken().await;
    world.passed("netcheck finds everything well, and names the nodes between which VXLAN is lost");

    let apart = world.places("apart").await;
    world.finds(&apart[0], "web", &[]).await;
    let web_task = &world.places("web").await[0];
    let across = world.ask(&apart[0], web_task.address).await;
    assert!(across.is_err(), "networks are apart: {across:?}");
    world.passed("networks are isolated");

    // The agent dies and its engine starts it again; what it programmed stays meanwhile.
    let node = world.fleet.node(1);
    let pid = ["inspect", "--format", "{{.State.Pid}}", "skep-agent"];
    let first = node.docker(&pid).await;
    node.exec(&format!("kill -9 {first}")).await;
    world.all_hear("web", "web").await;
    until(SOON, "the agent runs again", async || {
        let now = node.docker(&pid).await;
        (now != first && now != "0").then_some(())
    })
    .await;
    world.put_service("more", &service("[front]", 3)).await;
    world.settled("more", 3).await;
    world.all_hear("more", "web").await;
    world.passed("an agent that is killed comes back, and goes on");

    for name in ["web", "both", "apart", "more"] {
        world.remove_service(name).await;
    }
    world.delete("networks/default/front").await;
    world.delete("networks/default/back").await;
    for (node, before) in world.fleet.nodes.iter().zip(&before) {
        let what = format!("{} is as it was found", node.name);
        let mut last = String::new();
        let found = until(SOON, &what, async || {
            let now = shown(node).await;
            if now != *before && now != last {
                eprintln!("    {what}: not yet:\n{now}");
            }
            last.clone_from(&now);
            (now == *before).then_some(())
        });
        found.await;
    }
    world.passed("without networks the agents go, and nothing of theirs is left");
}
