//! skep: a Kubernetes-style control plane over plain Docker Engines.
//!
//! People put YAML manifests into etcd, with `skep apply` or `etcdctl put`; independent controllers watch etcd and each
//! runs its own reconcile loop; every effect on a node goes through that node's Docker Engine API. A skep is the straw
//! basket that houses a swarm.
//!
//! # The reader's path
//!
//! One datum's way through the code, from a user's file to what the user sees:
//!
//! | # | The datum | Where |
//! |---|---|---|
//! | 1 | a YAML document | `manifests/web.yaml` -> [`api::manifest`] |
//! | 2 | the user's key | `cli/apply.rs` -> one transaction (or `etcdctl put`) |
//! | 2b | the accepted record | `controllers/service/accept.rs` -> [`runtime::accept`], [`api::default`], [`api::validate`] |
//! | 3 | a change | `store/etcd/` -> [`runtime::watcher`] |
//! | 4 | the local copy, with the revision it has reached | [`runtime::cache`] |
//! | 5 | a key to look at | [`runtime::shared`] -> [`runtime::queue`] |
//! | 6 | what may be seen | `controllers/service/snapshot.rs` |
//! | 7 | the decision and its reasons | `controllers/service/plan.rs` -> [`runtime::plan`] |
//! | 8 | tasks | [`runtime::reconciler`] -> [`runtime::apply`] |
//! | 9 | a place | `controllers/scheduler/plan.rs` |
//! | 10 | an engine call | `controllers/task/plan.rs`, `container.rs` -> [`runtime::orders`] -> [`engine`] |
//! | 11 | what happened | engine events -> `controllers/task/status.rs` |
//! | 12 | what people see | `controllers/service/status.rs`, [`runtime::recorder`] -> `cli/describe.rs`, [`metrics`] |
//!
//! # Layers
//!
//! A file uses lower layers only; `tests/tidy.rs` enforces it, and that pure code is pure.
//!
//! | Layer | Modules |
//! |---|---|
//! | 0, pure | [`api`]: objects, keys, parsing, defaults, validation; `planted`: switches for bugs, off in all that is shipped |
//! | 1 | [`store`] (door `Kv`), [`engine`] (door `Engine`), [`embedded`] (a store of our own), [`metrics`], [`spawn`] (where tasks begin) |
//! | 2 | [`runtime`]: what every controller runs on (door `Clock`) |
//! | 3 | [`controllers`]: independent of each other; [`dataplane`]: a node's kernel (door `Host`) |
//! | 4 | [`cli`]: one file per verb |
//! | 5 | [`app`]: wiring, [`sim`]: simulated engines |
//!
//! Effects enter through the doors only; the binary passes real ones, tests pass simulated ones, and the wiring between
//! is the same. Three executors act: [`runtime::apply`] on the store, [`runtime::orders`] on engines and
//! [`dataplane::agent`] on a node's kernel.
//!
//! # Invariants
//!
//! The rules behind them, each with the tests that show it, are in [`rules`].
//!
//! - One writer per key; everybody but the owning controller reads the accepted record, never the user's text.
//! - Planners are pure; progress lives in objects, never in a leader's memory.
//! - Every write compares the key that gives the right to make it.
//! - Orders to engines only move forward: a container that ran is never started again.
//! - What is not ours by label *and* name is never touched.
//! - No number of the store alone stops a container.
//!
//! # Words
//!
//! *Service*: what should run. *Task*: one container's life, in a *slot* of its service, made from a *revision* of the
//! template. *Binding*: the task runs on that *node* (an *engine* with a name). *Accepted record*: the spec in force.
//! *Incarnation*: a life of the store. *Term*: a leader's, the create revision of its key. A node is *ready*; a task is
//! prepared (state `ready`), then running, and *serving* once it is healthy. *Desired* state is wanted, *observed* state
//! was seen. *Condition*: one statement about an object. *Generation*: counts changes of a spec. *Drain*: a node gives up
//! its tasks.

/// glibc's own takes a fifth of a busy manager's processor time; what this one takes is in `tests/bench/README.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod api;
pub mod app;
pub mod cli;
pub mod controllers;
pub mod dataplane;
pub mod embedded;
pub mod engine;
pub mod metrics;
#[doc(hidden)]
pub mod planted;
#[doc = include_str!("rules.md")]
pub mod rules {}
pub mod runtime;
pub mod sim;
pub mod spawn;
pub mod store;
