//! A cluster of three nodes on one wire, with an outside client and a stranger.

use super::namespace::Namespace;
use super::process::{self, Process};
use super::traffic;
use skep::api::unit::Port;
use skep::dataplane::address::Mac;
use skep::dataplane::agent::Report;
use skep::dataplane::kernel::bridge_name;
use skep::dataplane::probe::{Asked, Outcome};
use skep::dataplane::state::{
    Network, NodeIndex, PublishedKey, PublishedPort, State, StateRevision, VXLAN_PORT,
    VirtualAddress, Vni,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// The overlays.
pub(crate) const BLUE: Vni = Vni(4097);
pub(crate) const GREEN: Vni = Vni(4098);

/// An address of the wire.
pub(crate) fn outside(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, 0, last)
}

/// An address of an overlay.
pub(crate) fn inside(vni: Vni, last: u8) -> Ipv4Addr {
    let third = u8::try_from(vni.0 - BLUE.0 + 1).unwrap();
    Ipv4Addr::new(10, 100, third, last)
}

/// The address of a node.
pub(crate) fn node_address(index: u16) -> Ipv4Addr {
    outside(10 + u8::try_from(index).unwrap())
}

/// The addresses of IPv6 that go with those of the wire, and of overlays that carry it.
pub(crate) fn outside6(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())
}

pub(crate) fn inside6(vni: Vni, last: u8) -> Ipv6Addr {
    let [_, _, third, _] = inside(vni, last).octets();
    Ipv6Addr::new(0xfd00, third.into(), 0, 0, 0, 0, 0, last.into())
}

/// The address of IPv4 that goes with one of an overlay.
pub(crate) fn goes_with(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => {
            let [_, third, .., last] = address.segments();
            let [third, last] = [third, last].map(|part| u8::try_from(part).unwrap());
            Ipv4Addr::new(10, 100, third, last)
        }
    }
}

pub(crate) fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

/// A node with its agent.
pub(crate) struct Node {
    pub(crate) space: Namespace,
    pub(crate) index: NodeIndex,
    /// The iptables that its engine uses.
    pub(crate) iptables: &'static str,
    /// The kernel before the first agent.
    pub(crate) before: String,
    folder: PathBuf,
    form: Form,
    agent: Option<Process>,
    starts: usize,
}

/// Which tasks' frames stay on bridges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nobody's.
    Lifted,
    /// Everybody's.
    Bridged,
    /// Those of some; the others have hardware addresses that nobody knows.
    Mixed,
    /// Everybody's frames go from link to link, past the bridges.
    Fast,
    /// Those of some do, on nodes that can: the second cannot.
    FastMixed,
}

impl Form {
    /// Whether the hardware address of a task is known.
    fn knows(self, last: u8) -> bool {
        match self {
            Self::Lifted => false,
            Self::Bridged | Self::Fast => true,
            Self::Mixed | Self::FastMixed => ![12, 21].contains(&last),
        }
    }

    /// What a node's agent is told beside.
    fn arguments(self, node: NodeIndex) -> &'static [&'static str] {
        match self {
            Self::Bridged | Self::Mixed => &["--on-bridges"],
            Self::FastMixed if node == NodeIndex(2) => &["--on-bridges"],
            Self::Lifted | Self::Fast | Self::FastMixed => &[],
        }
    }
}

/// Everything.
pub(crate) struct Cluster {
    form: Form,
    pub(crate) nodes: Vec<Node>,
    pub(crate) client: Namespace,
    pub(crate) tasks: BTreeMap<Ipv4Addr, Namespace>,
    pub(crate) wanted: State,
    wire: Namespace,
    folder: tempfile::TempDir,
    /// Whether overlays carry IPv6.
    is_dual: bool,
}

impl Cluster {
    /// Nodes 1 to `count` with an agent each, both overlays on all of them, and nothing else yet.
    pub(crate) fn new(count: u16, bridges_call_iptables: bool) -> Self {
        Self::of(Form::Fast, count, bridges_call_iptables, false)
    }

    /// The same, with a choice of whose frames will stay on bridges, and whether overlays carry IPv6.
    pub(crate) fn of(form: Form, count: u16, bridges_call_iptables: bool, is_dual: bool) -> Self {
        let wire = Namespace::new();
        wire.ip("link add wire type bridge");
        wire.ip("link set wire up");
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Self {
            form,
            nodes: Vec::new(),
            client: Namespace::new(),
            tasks: BTreeMap::new(),
            wanted: match is_dual {
                false => state(count),
                true => dual_state(count),
            },
            wire,
            folder,
            is_dual,
        };
        cluster.plug(&cluster.client, outside(50));
        for index in 1..=count {
            let space = Namespace::new();
            cluster.plug(&space, node_address(index));
            // As fleets are: the second node's engine has its rules where nf_tables does not show them.
            let iptables = ["iptables", "iptables-legacy"][usize::from(index == 2)];
            engine(&space, iptables);
            let call = if bridges_call_iptables { "1" } else { "0" };
            space.set("bridge/bridge-nf-call-iptables", call);
            space.set("bridge/bridge-nf-call-ip6tables", call);
            // As in hardened sites, and in containers: what comes later has no IPv6 by itself.
            space.set("ipv6/conf/default/disable_ipv6", "1");
            let folder = cluster.folder.path().join(format!("node{index}"));
            std::fs::create_dir_all(&folder).unwrap();
            cluster.nodes.push(Node {
                before: snapshot(&space),
                space,
                index: NodeIndex(index),
                iptables,
                folder,
                form,
                agent: None,
                starts: 0,
            });
        }
        cluster.program();
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.settle();
        cluster
    }

    /// Connects a namespace to the wire.
    pub(crate) fn plug(&self, space: &Namespace, address: Ipv4Addr) {
        let [.., last] = address.octets();
        space.cable("eth0", &self.wire, &format!("port{last}"));
        self.wire.ip(&format!("link set port{last} master wire"));
        space.ip(&format!("addr add {address}/24 dev eth0"));
        let other = outside6(last);
        space.ip(&format!("addr add {other}/64 dev eth0 nodad"));
    }

    pub(crate) fn node(&self, index: u16) -> &Node {
        &self.nodes[usize::from(index) - 1]
    }

    pub(crate) fn task(&self, address: impl Into<IpAddr>) -> &Namespace {
        &self.tasks[&goes_with(address.into())]
    }

    /// Starts a task as an engine would: known to all nodes first, then a namespace behind the overlay's bridge that
    /// serves port 80, then sent to.
    pub(crate) fn start(&mut self, vni: Vni, last: u8, index: u16) {
        let address = inside(vni, last);
        let network = self.wanted.networks.get_mut(&vni).unwrap();
        network.tasks.insert(address, NodeIndex(index));
        let is_known = self.form.knows(last);
        if is_known {
            network.bridged.insert(address);
        }
        self.settle();
        let task = Namespace::new();
        let node = self.node(index);
        let (space, iptables) = (&node.space, node.iptables);
        let port = port(vni, last);
        task.cable("eth0", space, &port);
        // As an engine does by the network's option.
        for (space, link) in [(&task, "eth0"), (space, &port)] {
            space.ip(&format!("link set {link} mtu 1450"));
        }
        let bridge = bridge_name(vni);
        if is_known || self.form == Form::Lifted {
            let mac = Mac::of_container(address);
            task.ip(&format!("link set eth0 address {mac}"));
        }
        // Engine 28 and newer.
        space.run(&format!(
            "{iptables} -t raw -A PREROUTING -d {address} ! -i {bridge} -j DROP"
        ));
        space.ip(&format!("link set {port} master {bridge}"));
        task.ip(&format!("addr add {address}/24 dev eth0"));
        task.ip(&format!("route add default via {}", inside(vni, 1)));
        if self.is_dual {
            let (other, gateway) = (inside6(vni, last), inside6(vni, 1));
            task.ip(&format!("addr add {other}/64 dev eth0 nodad"));
            task.ip(&format!("route add default via {gateway}"));
            let rule = format!("-d {other} ! -i {bridge} -j DROP");
            let ip6tables = of_ipv6(iptables);
            space.run(&format!("{ip6tables} -t raw -A PREROUTING {rule}"));
        }
        traffic::serve(&task, &address.to_string(), 80);
        self.tasks.insert(address, task);
    }

    /// Waits until nodes hand frames straight to all tasks whose frames go past the bridges.
    pub(crate) fn hand_on(&self) {
        if ![Form::Fast, Form::FastMixed].contains(&self.form) {
            return;
        }
        for (vni, network) in &self.wanted.networks {
            let known = network.bridged.iter();
            let present = known.filter(|address| self.tasks.contains_key(address));
            let present: Vec<&Ipv4Addr> = present.collect();
            for address in &present {
                // By its first frame a task's port becomes known.
                traffic::ping(self.task(**address), inside(*vni, 1).into());
            }
            let maps =
                ["here", "away"].map(|map| format!("nft list map netdev skep {map}_{}", vni.0));
            let able = |node: &&Node| self.form.arguments(node.index).is_empty();
            for node in self.nodes.iter().filter(able) {
                let shown = || maps.each_ref().map(|map| node.space.run(map)).concat();
                let has_all = || {
                    let shown = shown();
                    let mut macs = present.iter().map(|address| Mac::of_container(**address));
                    macs.all(|mac| shown.contains(&mac.to_string()))
                };
                let mut looks = 0..200;
                while !has_all() {
                    assert!(looks.next().is_some(), "{}", shown());
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// Ends a task: nobody is sent to it, then it is gone, then unknown.
    pub(crate) fn stop(&mut self, vni: Vni, last: u8) {
        let address = inside(vni, last);
        for service in self.wanted.virtual_addresses.values_mut() {
            service.backends.remove(&address);
        }
        for port in self.wanted.ports.values_mut() {
            port.backends.remove(&address);
        }
        self.settle();
        self.unplug(vni, last);
        let network = self.wanted.networks.get_mut(&vni).unwrap();
        network.tasks.remove(&address);
        network.bridged.remove(&address);
        self.settle();
    }

    /// Takes a task from its bridge.
    pub(crate) fn unplug(&mut self, vni: Vni, last: u8) {
        let address = inside(vni, last);
        let index = self.wanted.place(address).unwrap();
        let node = self.node(index.0);
        let (space, iptables) = (&node.space, node.iptables);
        let bridge = bridge_name(vni);
        space.run(&format!(
            "{iptables} -t raw -D PREROUTING -d {address} ! -i {bridge} -j DROP"
        ));
        if self.is_dual {
            let rule = format!("-d {} ! -i {bridge} -j DROP", inside6(vni, last));
            let ip6tables = of_ipv6(iptables);
            space.run(&format!("{ip6tables} -t raw -D PREROUTING {rule}"));
        }
        space.ip(&format!("link del {}", port(vni, last)));
        self.tasks.remove(&address);
    }

    /// A virtual address in a network.
    pub(crate) fn serve(&mut self, vni: Vni, last: u8, backends: &[u8]) -> Ipv4Addr {
        let backends = backends.iter().map(|last| inside(vni, *last)).collect();
        let address = inside(vni, last);
        let service = VirtualAddress {
            backends,
            ..VirtualAddress::default()
        };
        self.wanted
            .virtual_addresses
            .insert(address, service.into());
        address
    }

    /// Publishes a port as `tcp/8080`, for port 80 of the backends.
    pub(crate) fn publish(&mut self, key: &str, backends: &[Ipv4Addr]) -> &mut PublishedPort {
        let key: PublishedKey = key.parse().unwrap();
        let port = PublishedPort {
            target: Port(80),
            backends: backends.iter().copied().collect(),
            source: Default::default(),
            locality: Default::default(),
            affinity: Default::default(),
        };
        self.wanted.ports.entry(key).or_insert(port.into())
    }

    /// Tells all agents what is wanted, and waits until they have it.
    pub(crate) fn settle(&mut self) {
        self.wanted.revision.0 += 1;
        self.program();
        for node in &mut self.nodes {
            node.wait(self.wanted.revision);
        }
    }

    fn program(&self) {
        for node in &self.nodes {
            node.program(&self.wanted);
        }
    }
}

impl Node {
    pub(crate) fn program(&self, wanted: &State) {
        let state = State {
            node: self.index,
            ..wanted.clone()
        };
        let new = self.folder.join("state.new");
        std::fs::write(&new, serde_json::to_vec(&state).unwrap()).unwrap();
        std::fs::rename(new, self.folder.join("state")).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let directory = self.folder.join("agent");
        let directory = directory.to_str().unwrap();
        let resolvers = self.resolv_conf();
        let resolvers = resolvers.to_str().unwrap();
        let mut all = vec![
            "agent",
            "--directory",
            directory,
            "--resolv-conf",
            resolvers,
        ];
        all.extend(self.form.arguments(self.index));
        all.extend(arguments);
        process::skep(&all)
    }

    /// The file that says which resolvers the node asks; there is none at first.
    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.folder.join("resolv.conf")
    }

    /// Starts the agent.
    pub(crate) fn start(&mut self) {
        self.starts += 1;
        let file = self.folder.join("state");
        let command = self.command(&["--state", file.to_str().unwrap(), "--audit", "1s"]);
        self.run(command);
    }

    /// Starts the agent where the kernel shows no IPv6, as one that was started with `ipv6.disable=1` does.
    pub(crate) fn start_without_ipv6(&mut self) {
        self.starts += 1;
        let file = self.folder.join("state");
        let agent = self.command(&["--state", file.to_str().unwrap(), "--audit", "1s"]);
        let hidden = "mount -t tmpfs none /proc/sys/net/ipv6 && exec \"$@\"";
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", hidden, "sh"]);
        command.arg(agent.get_program()).args(agent.get_args());
        self.run(command);
    }

    /// Starts the agent with nobody to tell it anything.
    pub(crate) fn start_alone(&mut self) {
        self.starts += 1;
        let command = self.command(&["--audit", "1s"]);
        self.run(command);
    }

    fn run(&mut self, command: std::process::Command) {
        let name = format!("agent{}", self.starts);
        let folder = &self.folder;
        self.agent = Some(
            self.space
                .within(move || Process::spawn(&name, command, folder)),
        );
    }

    /// `kill -9` of the agent.
    pub(crate) fn kill(&mut self) {
        self.agent.take().unwrap().kill();
    }

    /// Removes all that the agent made.
    pub(crate) fn remove(&mut self) {
        self.kill();
        let mut command = self.command(&["--remove"]);
        let output = self.space.within(move || command.output()).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What the node finds when it tries something.
    pub(crate) fn probe(&self, asked: &Asked) -> Vec<Outcome> {
        let mut command = self.command(&["--probe"]);
        let line = serde_json::to_string(asked).unwrap() + "\n";
        let output = self.space.within(move || {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            input.write_all(line.as_bytes()).unwrap();
            drop(input);
            child.wait_with_output().unwrap()
        });
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the agent said last.
    pub(crate) fn report(&self) -> Option<Report> {
        let log = self.folder.join(format!("agent{}.log", self.starts));
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let mut lines = text.lines().rev();
        lines.find_map(|line| serde_json::from_str(line).ok())
    }

    /// Waits until the agent's last word is as it should be.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Report) -> bool) -> Report {
        for _ in 0..600 {
            let report = self.report().filter(|report| is_so(report));
            if let Some(report) = report {
                return report;
            }
            let agent = self.agent.as_mut().expect("an agent runs");
            assert!(
                agent.is_running(),
                "the agent of node {} has ended",
                self.index.0
            );
            thread::sleep(Duration::from_millis(50));
        }
        panic!("node {}: {what}: {:?}", self.index.0, self.report());
    }

    /// Waits until a state is programmed.
    pub(crate) fn wait(&mut self, revision: StateRevision) {
        self.until("is not programmed", |report| {
            report.programmed == Some(revision) && report.trouble.is_none()
        });
    }

    /// How often the agent mended something of a kind.
    pub(crate) fn drift(&self, kind: &str) -> u64 {
        let report = self.report().unwrap_or_default();
        report.drift.get(kind).copied().unwrap_or(0)
    }
}

/// The program that does for IPv6 what another does for IPv4.
fn of_ipv6(iptables: &str) -> String {
    iptables.replace("iptables", "ip6tables")
}

/// The state of a cluster without tasks whose overlays carry IPv6.
fn dual_state(count: u16) -> State {
    let mut state = state(count);
    for (vni, network) in &mut state.networks {
        network.subnet6 = Some(format!("{}/64", inside6(*vni, 0)).parse().unwrap());
    }
    let indexes = state.members.iter();
    let others = indexes.map(|(index, address)| (*index, [outside6(address.octets()[3])].into()));
    state.members6 = others.collect();
    state
}

/// The name of a task's port of its bridge.
fn port(vni: Vni, last: u8) -> String {
    format!("veth{}x{last}", vni.0)
}

/// The state of a cluster without tasks.
pub(crate) fn state(count: u16) -> State {
    let indexes: BTreeSet<NodeIndex> = (1..=count).map(NodeIndex).collect();
    let network = |vni| Network {
        subnet: format!("{}/24", inside(vni, 0)).parse().unwrap(),
        gateway: inside(vni, 1),
        subnet6: None,
        addresses6: BTreeMap::new(),
        mtu: 1450,
        internal: false,
        nodes: indexes.clone(),
        tasks: BTreeMap::new(),
        bridged: BTreeSet::new(),
    };
    State {
        revision: StateRevision(0),
        node: NodeIndex(1),
        vxlan_port: VXLAN_PORT,
        members: (1..=count)
            .map(|index| (NodeIndex(index), node_address(index)))
            .collect(),
        members6: Default::default(),
        networks: [BLUE, GREEN]
            .into_iter()
            .map(|vni| (vni, network(vni).into()))
            .collect(),
        virtual_addresses: Default::default(),
        ports: Default::default(),
        health: Default::default(),
        names: Default::default(),
    }
}

/// What an engine 28 does to a node: it drops what it forwards unless a rule of its own lets it pass, and has a bridge of
/// its own with a container.
fn engine(space: &Namespace, iptables: &str) {
    let rules = [
        "-P FORWARD DROP",
        "-N DOCKER-USER",
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
        "-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        // For a container's own address: those of tasks come with them.
        "-t raw -A PREROUTING -d 172.17.0.200 ! -i docker0 -j DROP",
    ];
    for rule in rules {
        space.run(&format!("{iptables} {rule}"));
        let rule = rule.replace("172.17.0.0/16", "fd00:d0c::/64");
        let rule = rule.replace("172.17.0.200", "fd00:d0c::c8");
        space.run(&format!("{} {rule}", of_ipv6(iptables)));
    }
    // As engine 29 leaves it.
    space.set("ipv4/ip_forward", "0");
    for vni in [BLUE, GREEN] {
        let bridge = bridge_name(vni);
        let subnet = format!("{}/24", inside(vni, 0));
        let rules = [
            format!("-A FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
            format!("-A FORWARD -i {bridge} ! -o {bridge} -j ACCEPT"),
            format!("-A FORWARD -i {bridge} -o {bridge} -j ACCEPT"),
            format!("-A FORWARD ! -i {bridge} -o {bridge} -j DROP"),
            format!("-t nat -A POSTROUTING -s {subnet} ! -o {bridge} -j MASQUERADE"),
        ];
        for rule in rules {
            space.run(&format!("{iptables} {rule}"));
            let rule = rule.replace(&subnet, &format!("{}/64", inside6(vni, 0)));
            space.run(&format!("{} {rule}", of_ipv6(iptables)));
        }
    }
    space.ip("link add docker0 type bridge");
    space.ip("link set docker0 up");
    space.ip("addr add 172.17.0.1/16 dev docker0");
    space.ip("addr add fd00:d0c::1/64 dev docker0 nodad");
}

/// A container of the engine's own bridge.
pub(crate) fn container(node: &Node, last: u8) -> Namespace {
    let task = Namespace::new();
    let port = format!("vethd{last}");
    task.cable("eth0", &node.space, &port);
    node.space.ip(&format!("link set {port} master docker0"));
    task.ip(&format!("addr add 172.17.0.{last}/16 dev eth0"));
    task.ip("route add default via 172.17.0.1");
    task.ip(&format!("addr add fd00:d0c::{last:x}/64 dev eth0 nodad"));
    task.ip("route add default via fd00:d0c::1");
    task
}

/// All of a kernel that an agent could have left something in.
pub(crate) fn snapshot(space: &Namespace) -> String {
    let links = space.ip("-br link");
    // Peers in other namespaces have numbers of their own.
    let links: Vec<&str> = links
        .lines()
        .filter_map(|line| line.split(['@', ' ']).next())
        .collect();
    let mut text = format!("{links:?}\n");
    let lines = [
        "ip -4 -br addr",
        "ip -6 -br addr show scope global",
        "ip rule",
        "ip -6 rule",
        "ip -4 route show table all",
        "ip -6 route show table main scope global",
        "ip neigh show nud permanent",
        "nft -s list ruleset",
    ];
    for line in lines {
        let (_, said) = space.attempt(line);
        text += &said;
    }
    // Without what was counted.
    for program in ["iptables-legacy-save", "ip6tables-legacy-save"] {
        let legacy = space.run(program);
        let rules = legacy.lines().filter(|line| line.starts_with('-'));
        text.extend(rules.map(|rule| format!("{rule}\n")));
    }
    for path in [
        "ipv4/ip_forward",
        "ipv4/conf/all/send_redirects",
        "ipv4/conf/all/rp_filter",
        "ipv6/conf/all/forwarding",
    ] {
        text += &format!("{path} {}\n", space.get(path));
    }
    text
}
