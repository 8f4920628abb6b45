//! Images: looked up, loaded, pulled, removed.

use crate::subject::{engine, make};
use serde_json::json;
use skep::engine::image::{Entry, Image, skep};
use skep::engine::{Engine, Error};

#[tokio::test]
async fn an_image_is_loaded_found_and_removed() {
    let engine = engine().await;
    let image = Image {
        name: format!("skeng-image:{}", std::process::id()),
        architecture: "amd64".into(),
        entries: [("empty".to_owned(), Entry::Directory)].into(),
        ..Image::default()
    };
    engine.load(image.tar()).await.unwrap();
    let id = engine.image(&image.name).await.unwrap();
    engine.load(image.tar()).await.unwrap();
    assert_eq!(
        engine.image(&image.name).await.unwrap(),
        id,
        "the same bytes are the same image"
    );
    engine.remove_image(&image.name).await.unwrap();
    let gone = engine.image(&image.name).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn a_binary_packed_as_skep_runs_from_scratch() {
    let engine = engine().await;
    let binary = std::fs::read("/usr/bin/busybox").expect("install busybox-static");
    let version = format!("skeng-{}", std::process::id());
    let image = skep(binary, &version, std::env::consts::ARCH);
    engine.load(image.tar()).await.unwrap();
    // Called as `skep`, busybox does not know itself: it says so and ends with 127, which shows that it ran.
    let made = make(json!({"Image": image.name})).await;
    made.engine.start(&made.id).await.unwrap();
    assert_eq!(made.ended().await.exit_code, 127);
    made.engine.remove(&made.id, true).await.unwrap();
    engine.remove_image(&image.name).await.unwrap();
}

#[tokio::test]
async fn a_tar_that_is_none_is_refused() {
    let error = engine()
        .await
        .load(b"garbage".repeat(200))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Refused { call: "load", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_pull_that_cannot_work_says_why_and_whether_to_try_again() {
    let engine = engine().await;
    let progress = |_: &str| {};
    // Nobody listens there: the registry is unreachable, which may pass.
    let image = "127.0.0.1:1/skep-test/nothing:1";
    let error = engine.pull(image, &progress).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains(image), "{error}");

    let error = engine
        .pull("skep-test/NOT A NAME", &progress)
        .await
        .unwrap_err();
    assert!(!error.is_retryable(), "{error}");
}
