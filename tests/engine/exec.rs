//! Commands in containers.

use crate::subject::{Made, run};
use futures::StreamExt;
use skep::engine::{Engine, Error, ExecIo, ExecRequest};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const PATIENCE: Duration = Duration::from_secs(20);

fn request(line: &str) -> ExecRequest {
    ExecRequest {
        command: ["sh", "-c", line].map(String::from).into(),
        ..ExecRequest::default()
    }
}

/// Standard output and standard error, to the end.
async fn read(io: &mut ExecIo) -> (Vec<u8>, Vec<u8>) {
    let work = async {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(line) = io.output.next().await {
            let line = line.unwrap();
            let into = if line.is_stderr { &mut err } else { &mut out };
            into.extend(line.bytes);
        }
        (out, err)
    };
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("the command's output ends")
}

async fn exit_code(made: &Made, io: &ExecIo) -> i64 {
    let look = async {
        loop {
            if let Some(code) = made.engine.exec_exit_code(&io.id).await.unwrap() {
                return code;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look)
        .await
        .expect("the command ends")
}

#[tokio::test]
async fn output_is_split_and_the_exit_code_told() {
    let made = run("sleep 1000").await;
    let mut request = request("echo $A $(pwd); echo err >&2; exit 7");
    request.env = vec!["A=b".into()];
    request.working_dir = Some("/tmp".into());
    request.user = Some("0".into());
    let mut io = made.engine.exec(&made.id, &request).await.unwrap();
    assert_eq!(
        read(&mut io).await,
        (b"b /tmp\n".to_vec(), b"err\n".to_vec())
    );
    assert_eq!(exit_code(&made, &io).await, 7);
}

#[tokio::test]
async fn the_end_of_the_input_arrives_while_the_output_goes_on() {
    let made = run("sleep 1000").await;
    let mut request = request("wc -c; echo after");
    request.stdin = true;
    let mut io = made.engine.exec(&made.id, &request).await.unwrap();
    io.input.write_all(&[b'x'; 100_000]).await.unwrap();
    assert_eq!(
        made.engine.exec_exit_code(&io.id).await.unwrap(),
        None,
        "it waits for more"
    );
    io.input.shutdown().await.unwrap();
    let (out, _) = read(&mut io).await;
    assert_eq!(String::from_utf8_lossy(&out), "100000\nafter\n");
    assert_eq!(exit_code(&made, &io).await, 0);
}

#[tokio::test]
async fn a_terminal_shows_bytes_0_to_2_wherever_a_read_begins() {
    let made = run("sleep 1000").await;
    // Pauses, so that each piece is the beginning of a read.
    let line = r"printf '\000a'; sleep 0.2; printf '\001b'; sleep 0.2; printf '\002\000\000\000\000\000\000\001'";
    let mut request = request(line);
    request.tty = true;
    let mut io = made.engine.exec(&made.id, &request).await.unwrap();
    let (out, err) = read(&mut io).await;
    assert_eq!(out, b"\0a\x01b\x02\0\0\0\0\0\0\x01");
    assert!(err.is_empty());
}

#[tokio::test]
async fn a_terminal_takes_input_and_a_size() {
    let made = run("sleep 1000").await;
    let mut request = request("read line; stty size; echo \"got $line\"");
    (request.tty, request.stdin) = (true, true);
    let mut io = made.engine.exec(&made.id, &request).await.unwrap();
    made.engine.exec_resize(&io.id, 101, 33).await.unwrap();
    io.input.write_all(b"hello\n").await.unwrap();
    let (out, _) = read(&mut io).await;
    let out = String::from_utf8_lossy(&out).into_owned();
    assert!(
        out.contains("33 101") && out.contains("got hello"),
        "{out:?}"
    );
}

#[tokio::test]
async fn a_container_that_does_not_run_takes_no_command() {
    let made = run("true").await;
    made.ended().await;
    let error = made
        .engine
        .exec(&made.id, &request("true"))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn a_command_that_is_not_there_ends_with_its_code() {
    let made = run("sleep 1000").await;
    let request = ExecRequest {
        command: vec!["/no/such/command".into()],
        ..ExecRequest::default()
    };
    // Engines tell it either in the answer or in the output.
    match made.engine.exec(&made.id, &request).await {
        Err(error) => assert!(error.to_string().contains("no such"), "{error}"),
        Ok(mut io) => {
            read(&mut io).await;
            let code = exit_code(&made, &io).await;
            assert!([126, 127].contains(&code), "{code}");
        }
    }
}
