//! Published ports on every node of a real fleet, as clients outside of it meet them.

use crate::support::fleet::Transport;
use crate::support::node::Node;
use crate::world::{World, until_soon};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long an answer may take: a machine of two cores also runs three engines.
const ANSWER: Duration = Duration::from_secs(10);

/// A web server that says on which node it is and who asks. It ends at once when it is told to: what it does not lose is not
/// its own merit. The variable makes one version another.
pub(crate) fn spec(version: u32, replicas: usize) -> String {
    let script = "mkdir -p /tmp/cgi-bin; cd /tmp/cgi-bin; \
        echo '#!/bin/sh' >who; echo echo >>who; echo 'echo $SKEP_NODE $REMOTE_ADDR' >>who; chmod 755 who; \
        exec httpd -f -p 80 -h /tmp";
    format!(
        "{{replicas: {replicas}, ports: ['8080:80'], update: {{monitor: 100ms}}, template: {{container: {{\
         image: 'skep-test/busybox:1', stopSignal: SIGKILL, env: {{VERSION: v{version}}}, \
         command: [sh, -c, {script:?}], \
         healthcheck: {{test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1/cgi-bin/who'], interval: 500ms, retries: 30}}}}}}}}"
    )
}

/// What a port answers, and from which address it was asked; an error says what went wrong.
pub(crate) async fn ask(address: SocketAddr) -> Result<(String, IpAddr), String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let own = stream.local_addr()?.ip();
        let request = b"GET /cgi-bin/who HTTP/1.0\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>((answer, own))
    };
    let asked = timeout(ANSWER, asked).await;
    let asked = asked.map_err(|_| format!("{address} does not answer"))?;
    let (answer, own) = asked.map_err(|error| format!("{address}: {error}"))?;
    match answer.split_once("\r\n\r\n").or(answer.split_once("\n\n")) {
        Some((_, said)) if !said.trim().is_empty() => Ok((said.trim().to_owned(), own)),
        _ => Err(format!("{address} says {answer:?}")),
    }
}

pub(crate) fn port(node: &Node) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(node.address), 8080)
}

/// Waits until a port leads to tasks on all of these nodes, and each sees who asks.
pub(crate) async fn leads_to(port: SocketAddr, nodes: &BTreeSet<String>) {
    let what = format!("{port} leads to tasks on {nodes:?}");
    let mut heard: BTreeMap<String, usize> = BTreeMap::new();
    let mut last = String::new();
    until_soon(&what, async || {
        match ask(port).await {
            Ok((said, own)) => {
                let (on, seen) = said.split_once(' ').unwrap_or((&said, ""));
                let seen = seen.trim_matches(['[', ']']).trim_start_matches("::ffff:");
                assert_eq!(seen, own.to_string(), "the task on {on} sees who asks");
                *heard.entry(on.to_owned()).or_default() += 1;
            }
            Err(error) if error == last => {}
            Err(error) => {
                eprintln!("    {error}");
                last = error;
            }
        }
        heard.keys().eq(nodes).then_some(())
    })
    .await;
    eprintln!("    {what}: {heard:?}");
}

impl World {
    /// Waits until the port of each node leads to tasks on all of these nodes, and each sees who asks.
    pub(crate) async fn leads_to(&self, nodes: &BTreeSet<String>) {
        for node in &self.fleet.nodes {
            leads_to(port(node), nodes).await;
        }
    }

    /// The nodes of a service's running containers.
    pub(crate) async fn nodes_of(&self, service: &str) -> BTreeSet<String> {
        let containers = self.containers(service).await.into_iter();
        let running = containers.filter(|one| one.is_running);
        running.map(|one| one.node).collect()
    }
}

/// Clients that ask all nodes again and again until they are stopped.
struct Clients {
    stop: Arc<AtomicBool>,
    running: Vec<tokio::task::JoinHandle<(usize, Vec<String>)>>,
}

impl Clients {
    fn start(nodes: &[Node]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |node: &Node| {
            let (stop, address) = (stop.clone(), port(node));
            tokio::spawn(async move {
                let (mut asked, mut failed) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    asked += 1;
                    failed.extend(ask(address).await.err());
                    // As many as can be are no better test, and leave engines no time.
                    sleep(Duration::from_millis(20)).await;
                }
                (asked, failed)
            })
        };
        let running = nodes.iter().map(client).collect();
        Self { stop, running }
    }

    /// How many questions were answered; none was not.
    async fn end(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut asked, mut failed) = (0, Vec::new());
        for client in self.running {
            let (more, errors) = client.await.expect("a client does not panic");
            asked += more;
            failed.extend(errors);
        }
        eprintln!("    {what}: {asked} requests, {} failed", failed.len());
        assert!(asked > 50, "{what}: only {asked} requests");
        assert_eq!(failed, Vec::<String>::new(), "{what}: of {asked} requests");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_ports_answer_on_every_node_and_changes_lose_no_request() {
    let mut world = World::new("ingress", 3, Transport::Plain).await;
    world.start_manager("m1", &["--networks"]);
    world.nodes_are_ready().await;
    world.put_service("web", &spec(1, 2)).await;
    world.settled("web", 2).await;
    for (object, kind) in [
        ("services/default/web", "NetworksReady"),
        ("services/default/web", "PortsReady"),
        ("networks/default/default", "Available"),
    ] {
        let said = (kind, "True", "Provided");
        let message = world.condition_is(object, "network", said).await;
        eprintln!("    {kind}: {message}");
    }
    let on = world.nodes_of("web").await;
    world.leads_to(&on).await;
    world.passed(
        "each node's port leads to tasks on other nodes too, and they see the client's own address",
    );

    let networks = ["network", "ls", "--format", "{{.Name}}"];
    for node in &world.fleet.nodes {
        let listed = node.docker(&networks).await;
        assert!(
            listed.contains("default_default"),
            "{}: {listed}",
            node.name
        );
    }
    for (command, expected) in [
        (&["get", "services", "-o", "wide"][..], "8080->80/tcp"),
        (&["get", "networks"][..], "default"),
        (&["why", "web"][..], "waits for nothing"),
        (&["status"][..], "web"),
    ] {
        let (code, text) = world.skep(command).await;
        assert_eq!(code, 0, "{command:?}: {text}");
        assert!(text.contains(expected), "{command:?}: {text}");
        assert!(!text.contains("NotProvided"), "{command:?}: {text}");
    }
    world.passed("a service without networks is in its namespace's own, and all commands say so");

    let clients = Clients::start(&world.fleet.nodes);
    world.put_service("web", &spec(2, 2)).await;
    until_soon("both tasks are of the second version", async || {
        let containers = world.containers("web").await;
        let running = containers.iter().filter(|one| one.is_running);
        let revisions: Vec<&str> = running.map(|one| one.revision.as_str()).collect();
        (revisions == ["2", "2"]).then_some(())
    })
    .await;
    world.settled("web", 2).await;
    clients.end("a rolling change").await;
    world.passed("a rolling change loses no request");

    let clients = Clients::start(&world.fleet.nodes);
    world.put_service("web", &spec(2, 3)).await;
    world.settled("web", 3).await;
    world.put_service("web", &spec(2, 1)).await;
    world.settled("web", 1).await;
    world.put_service("web", &spec(2, 2)).await;
    world.settled("web", 2).await;
    clients.end("scaling up and down").await;
    world.passed("scaling loses no request");

    let clients = Clients::start(&world.fleet.nodes);
    let on = world.nodes_of("web").await;
    let drained = on.first().expect("web runs somewhere").clone();
    let mut nodes = world.fleet.nodes.iter();
    let node = nodes.find(|node| node.name == drained).expect("a node");
    world.put_node(node, "availability: drain").await;
    until_soon("the node is empty", async || {
        let on = world.nodes_of("web").await;
        (!on.contains(&drained)).then_some(())
    })
    .await;
    world.settled("web", 2).await;
    clients.end("a node that is drained").await;
    let on = world.nodes_of("web").await;
    world.leads_to(&on).await;
    world
        .passed("a node that is drained loses no request, and its port leads to the others' tasks");
    world.remove_service("web").await;
}
