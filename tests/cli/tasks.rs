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
