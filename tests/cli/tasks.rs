//! Verbs that talk to engines: logs and exec.

use crate::world::{WEB, World};

async fn running() -> World {
    let world = World::new();
    world.put("services/default/web", WEB);
    world.accept("services/default/web", 1);
    world.node("n1");
    world.node("n2");
    for (id, slot, node) in [("t1", 1, "n1"), ("t2", 2, "n2")] {
        let container = world.task(id, slot, node).await;
        let engine = world.fleet.get(&format!("tcp://{node}:2375")).unwrap();
        engine.print(&container, &format!("hello from {node}"));
        engine.print(&container, "second line");
    }
    world
}

#[tokio::test]
async fn logs_carry_their_task() {
    let world = running().await;
    let out = world.ok("logs web").await;
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "web.1@n1 | hello from n1",
            "web.1@n1 | second line",
            "web.2@n2 | hello from n2",
            "web.2@n2 | second line",
        ]
    );
    assert_eq!(
        world.ok("logs web.2 --no-prefix").await,
        "hello from n2\nsecond line\n"
    );
    assert_eq!(world.skep("logs nothing").await.code, 1);
    assert_eq!(world.skep("logs web --since yesterday").await.code, 2);
}

#[tokio::test]
async fn an_engine_out_of_reach_is_exit_code_3_and_says_from_where() {
    let world = running().await;
    world
        .fleet
        .get("tcp://n1:2375")
        .unwrap()
        .set_reachable(false);
    let said = world.skep("logs web").await;
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(
        said.err.contains("node n1") && said.err.contains("tcp://n1:2375"),
        "{}",
        said.err
    );
    assert_eq!(
        said.out, "web.2@n2 | hello from n2\nweb.2@n2 | second line\n",
        "the others are shown"
    );
}

#[tokio::test(start_paused = true)]
async fn followed_logs_go_on_after_a_break_and_with_new_tasks() {
    let world = running().await;
    let engine = world.fleet.get("tcp://n1:2375").unwrap();
    let container = engine.running()[0].id.clone();
    let pause = || tokio::time::sleep(std::time::Duration::from_secs(5));
    let person = {
        let engine = engine.clone();
        async move {
            pause().await;
            engine.set_reachable(false);
            pause().await;
            engine.print(&container, "while nobody could listen");
            engine.set_reachable(true);
            pause().await;
            pause().await;
        }
    };
    let later = async {
        tokio::time::sleep(std::time::Duration::from_secs(12)).await;
        let container = world.task("t3", 3, "n2").await;
        let engine = world.fleet.get("tcp://n2:2375").unwrap();
        engine.print(&container, "the new one");
    };
    let (said, ()) = tokio::join!(world.skep_until("logs -f web", "", person), later);
    assert_eq!(said.code, 130);
    let mut lines: Vec<&str> = said.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "web.1@n1 | hello from n1",
            "web.1@n1 | second line",
            "web.1@n1 | while nobody could listen",
            "web.2@n2 | hello from n2",
            "web.2@n2 | second line",
            "web.3@n2 | the new one",
        ],
        "each line once"
    );
    assert_eq!(
        said.err.matches("web.1@n1: ").count(),
        1,
        "the break is told once: {}",
        said.err
    );
}

#[tokio::test]
async fn a_service_without_tasks_is_no_unknown_word() {
    let world = World::new();
    world.put("services/default/web", WEB);
    let said = world.skep("logs web").await;
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("no task of `web` has a container"),
        "{}",
        said.err
    );
    let said = world.skep("exec web -- true").await;
    assert!(
        said.code == 125 && said.err.contains("no task of `web` runs"),
        "{}",
        said.err
    );
}

#[tokio::test]
async fn exec_ends_with_the_code_of_the_command() {
    let world = running().await;
    let engine = world.fleet.get("tcp://n1:2375").unwrap();
    engine.set_exec(b"out\n", 0);
    let said = world.skep("exec web.1 -- true").await;
    assert_eq!((said.code, said.out.as_str()), (0, "out\n"), "{}", said.err);
    engine.set_exec(b"", 42);
    assert_eq!(world.skep("exec web.1 -- false").await.code, 42);
    let said = world.skep("exec nothing -- true").await;
    assert_eq!(said.code, 125, "{}", said.err);
    engine.set_reachable(false);
    let said = world.skep("exec web.1 -- true").await;
    assert_eq!(said.code, 125);
    assert!(said.err.contains("node n1"), "{}", said.err);
}
