//! What each trouble does to the world, and how it ends.

use crate::happen::ours;
use crate::stage::Stage;
use crate::trouble::Trouble;
use futures::FutureExt;
use skep::api::task::Health;
use skep::api::unit::Revision;
use skep::sim::line::{Hearing, Way};
use skep::sim::world::{Manager, url};
use skep::sim::{Behaviour, Fault, Registry, SimEngine, Telling};
use skep::store::Kv;
use std::time::Duration;

/// A trouble that will be over.
#[derive(Clone, Debug)]
pub(crate) struct Lasting {
    trouble: Trouble,
    /// The manager that has it: once that is gone, so is the trouble.
    who: Option<String>,
}

/// The images that services use.
pub(crate) const IMAGES: [&str; 2] = ["app:1", "app:2"];

impl Stage {
    /// It begins; gives how long it lasts, if it does.
    pub(crate) async fn suffer(&mut self, trouble: &Trouble) -> Option<(u64, Lasting)> {
        let (seconds, who) = match trouble {
            Trouble::Kill(place, seconds) => {
                self.kill(at(*place))?;
                (*seconds, None)
            }
            Trouble::Pause(place, seconds)
            | Trouble::CutLine(place, seconds)
            | Trouble::Stall(place, seconds)
            | Trouble::Deaf(place, seconds)
            | Trouble::SlowLine(place, _, seconds)
            | Trouble::Hear(place, _, seconds)
            | Trouble::CutLink(place, _, seconds)
            | Trouble::LoseAnswers(place, _, seconds)
            | Trouble::CutUplink(place, seconds)
            | Trouble::Forget(place, seconds)
            | Trouble::Clock(place, _, seconds) => {
                let manager = self.managers.get(at(*place))?.as_ref()?;
                begin_of_manager(manager, trouble);
                (*seconds, Some(manager.name.clone()))
            }
            Trouble::StoreDown(seconds) => {
                self.store.set_reachable(false);
                (*seconds, None)
            }
            Trouble::StoreNarrow(most, seconds) => {
                self.store.set_most_operations(Some(at(*most)));
                (*seconds, None)
            }
            Trouble::StoreFull(seconds) => {
                self.store.set_full(true);
                (*seconds, None)
            }
            _ => match self.begin_of_engine(trouble) {
                Some(seconds) => (seconds, None),
                None => {
                    self.suffer_once(trouble).await;
                    return None;
                }
            },
        };
        if let (Trouble::CutUplink(..), Some(who)) = (trouble, &who) {
            self.set_uplink(who, true);
        }
        self.tell_judge(trouble, true);
        let trouble = trouble.clone();
        Some((seconds, Lasting { trouble, who }))
    }

    /// Nodes that somebody cannot reach, or whose answers come late, may be taken for lost.
    fn tell_judge(&self, trouble: &Trouble, is_cut: bool) {
        if let Trouble::EngineDown(node, _)
        | Trouble::Slow(node, ..)
        | Trouble::CutLink(_, node, _)
        | Trouble::LoseAnswers(_, node, _)
        | Trouble::Swap(node, _) = trouble
        {
            self.set_cut(*node, is_cut);
        }
    }

    /// Cuts all of a manager's links, or mends those that it had then.
    fn set_uplink(&mut self, who: &str, is_cut: bool) {
        let nodes = match is_cut {
            true => self.engines.iter().copied().collect(),
            false => self.uplinks.remove(who).unwrap_or_default(),
        };
        let urls: Vec<String> = nodes.iter().map(|node| url(*node)).collect();
        let is_it = |manager: &&Manager| manager.name == who;
        if let Some(manager) = self.managers.iter().flatten().find(is_it) {
            manager.cuts.send_modify(|cuts| match is_cut {
                true => cuts.urls.extend(urls),
                false => cuts.urls.retain(|url| !urls.contains(url)),
            });
        }
        self.court.judge(|judge| judge.set_uplink(who, is_cut));
        for node in &nodes {
            self.set_cut(*node, is_cut);
        }
        if is_cut {
            self.uplinks.insert(who.to_owned(), nodes);
        }
    }

    /// Puts another machine at a node's address, or the first one back.
    fn swap(&mut self, node: u64, is_back: bool) {
        let engine = match is_back {
            true => self.swapped.remove(&node),
            false => Some(self.engine(node)),
        };
        let Some(engine) = engine else { return };
        engine.set_reachable(is_back);
        if is_back {
            // Who still talks to the other machine finds nobody there.
            self.engine(node).set_reachable(false);
            self.fleet.replace(&url(node), engine);
            return;
        }
        let other = SimEngine::at(&url(node), &format!("x{node}"));
        for image in IMAGES {
            other.add_image(image);
        }
        other.forget_calls();
        other.set_witness(self.court.witness());
        self.fleet.replace(&url(node), other);
        self.swapped.insert(node, engine);
    }

    /// A trouble of an engine that lasts: for so many seconds.
    fn begin_of_engine(&mut self, trouble: &Trouble) -> Option<u64> {
        let full = Fault::server_error("simulated: no space left on device");
        Some(match trouble {
            Trouble::EngineDown(node, seconds) => {
                self.engine(*node).set_reachable(false);
                *seconds
            }
            Trouble::Slow(node, latency, seconds) => {
                let latency = Duration::from_millis(*latency);
                self.engine(*node).set_latency("*", latency);
                *seconds
            }
            Trouble::SlowStart(node, latency, seconds) => {
                let latency = Duration::from_millis(*latency);
                self.engine(*node).set_latency("start", latency);
                *seconds
            }
            Trouble::Tell(node, telling, seconds) => {
                self.engine(*node).tell(*telling);
                *seconds
            }
            Trouble::CrashLoop(node, seconds) => {
                behave(&self.engine(*node), &Behaviour::Exit(1));
                *seconds
            }
            Trouble::RefuseStart(node, seconds) => {
                let refuse = Behaviour::RefuseStart("simulated: no such program".into());
                behave(&self.engine(*node), &refuse);
                *seconds
            }
            Trouble::DiskFull(node, seconds) => {
                self.engine(*node).fail("create", full.clone(), usize::MAX);
                self.engine(*node).fail("pull", full, usize::MAX);
                *seconds
            }
            Trouble::NoRegistry(node, seconds) => {
                self.engine(*node).set_registry(Registry::Unreachable);
                *seconds
            }
            Trouble::SlowPull(node, latency, seconds) => {
                let latency = Duration::from_millis(*latency);
                self.engine(*node).set_latency("pull", latency);
                *seconds
            }
            Trouble::Sick(node, seconds) => {
                self.engine(*node).set_all_health(Health::Unhealthy);
                *seconds
            }
            Trouble::NodeClock(node, off, seconds) => {
                self.clocks.get(node)?.set_ahead(off * 1_000);
                *seconds
            }
            Trouble::Swap(node, seconds) if !self.swapped.contains_key(node) => {
                self.swap(*node, false);
                *seconds
            }
            _ => return None,
        })
    }

    async fn suffer_once(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::CutWatches => self.store.cut_watches(),
            Trouble::Unknown(fault) => self.store.fail_next(*fault),
            Trouble::Late => self.commit_late(),
            Trouble::Compact => {
                let revision = self.store.revision();
                // An unreachable store compacts nothing, which is no trouble.
                let _ = self.store.compact(revision).await;
            }
            Trouble::Rewind(many) => {
                let revision =
                    Revision((self.store.revision().0 - i64::try_from(*many).unwrap_or(0)).max(2));
                match self.store.rewind(revision) {
                    Ok(()) => self.court.look_at_store(true),
                    Err(error) => self.court.note("fault", &format!("no rewind: {error}")),
                }
            }
            Trouble::Wipe => {
                self.store.wipe();
                self.court.look_at_store(true);
            }
            Trouble::Lie(node, call, fault, times) => {
                let times = usize::try_from(*times).unwrap_or(1);
                self.engine(*node).fail(call, fault.clone(), times);
            }
            Trouble::Exit(node, which) => {
                self.of_running(*node, *which, |engine, id| engine.exit(id, 1))
            }
            Trouble::Lose(node, which) => {
                self.of_running(*node, *which, |engine, id| engine.remove_by_hand(id));
            }
            Trouble::Events(node) => self.engine(*node).drop_events(),
            Trouble::Reboot(node) => self.engine(*node).reboot(),
            _ => {}
        }
    }

    /// Does something to one of the running containers that are ours.
    fn of_running(
        &self,
        node: u64,
        which: u64,
        act: impl FnOnce(&SimEngine, &skep::api::uid::ContainerId),
    ) {
        let engine = self.engine(node);
        let running = ours(&engine);
        let which = at(which) % running.len().max(1);
        if let Some(container) = running.get(which) {
            act(&engine, &container.id);
        }
    }

    pub(crate) fn commit_late(&self) {
        let committed = self.store.apply_late();
        if committed > 0 {
            self.court
                .note("fault", &format!("{committed} commit late"));
        }
        self.court.look_at_store(false);
    }

    /// A trouble ends.
    pub(crate) fn end(&mut self, lasting: &Lasting, latency: Duration) {
        if let Trouble::Forget(..) = lasting.trouble {
            let revision = self.store.revision();
            // In memory it is done at once; an unreachable store forgets nothing, which is no trouble.
            let _ = self.store.compact(revision).now_or_never();
        }
        let is_it = |manager: &&Manager| Some(&manager.name) == lasting.who.as_ref();
        // A link is not mended while its manager has no way out at all.
        let has_way = |manager: &&Manager| {
            let is_link = matches!(lasting.trouble, Trouble::CutLink(..));
            !is_link || !self.uplinks.contains_key(&manager.name)
        };
        let mut managers = self.managers.iter().flatten();
        if let Some(manager) = managers.find(is_it).filter(has_way) {
            end_of_manager(manager, &lasting.trouble);
        }
        match &lasting.trouble {
            Trouble::Kill(place, _) => {
                let role = self.role(at(*place));
                self.start_manager(at(*place), role);
            }
            Trouble::CutUplink(..) => {
                let who = lasting.who.clone().unwrap_or_default();
                self.set_uplink(&who, false);
            }
            Trouble::Swap(node, _) => self.swap(*node, true),
            Trouble::StoreDown(_) => self.store.set_reachable(true),
            Trouble::StoreFull(_) => self.store.set_full(false),
            Trouble::StoreNarrow(..) => self.store.set_most_operations(None),
            Trouble::SlowStart(node, ..) => self.engine(*node).set_latency("start", latency),
            Trouble::EngineDown(node, _) => self.engine(*node).set_reachable(true),
            Trouble::Slow(node, ..) => self.engine(*node).set_latency("*", latency),
            Trouble::Tell(node, ..) => self.engine(*node).tell(Telling::Well),
            Trouble::CrashLoop(node, _) | Trouble::RefuseStart(node, _) => {
                behave(&self.engine(*node), &Behaviour::Run);
            }
            Trouble::DiskFull(node, _) => self.engine(*node).clear_faults(),
            Trouble::NoRegistry(node, _) => self.engine(*node).set_registry(Registry::Everything),
            Trouble::SlowPull(node, ..) => self.engine(*node).set_latency("pull", latency),
            Trouble::Sick(node, _) => self.engine(*node).set_all_health(Health::Healthy),
            Trouble::NodeClock(node, ..) => {
                if let Some(clock) = self.clocks.get(node) {
                    clock.set_ahead(0);
                }
            }
            _ => {}
        }
        self.tell_judge(&lasting.trouble, false);
        let over = format!("over: {:?}", lasting.trouble);
        self.court.note("fault", &over);
    }
}

fn at(place: u64) -> usize {
    usize::try_from(place).unwrap_or(0)
}

fn behave(engine: &SimEngine, behaviour: &Behaviour) {
    for image in IMAGES {
        engine.set_behaviour(image, behaviour.clone());
    }
}

fn begin_of_manager(manager: &Manager, trouble: &Trouble) {
    match trouble {
        Trouble::Pause(..) => manager.process.stop(),
        Trouble::CutLine(..) | Trouble::Forget(..) => manager.line.set(Way::Cut),
        Trouble::Stall(..) => manager.line.set(Way::Held),
        Trouble::Deaf(..) => manager.line.set(Way::Deaf),
        Trouble::SlowLine(_, delay, _) => manager.line.set_delay(Duration::from_millis(*delay)),
        Trouble::Hear(_, hearing, _) => manager.line.set_hearing(*hearing),
        Trouble::CutLink(_, node, _) => manager.cuts.send_modify(|cuts| {
            cuts.urls.insert(url(*node));
        }),
        Trouble::LoseAnswers(_, node, _) => manager.cuts.send_modify(|cuts| {
            cuts.answers.insert(url(*node));
        }),
        Trouble::Clock(_, off, _) => manager.clock.set_ahead(off * 1_000),
        _ => {}
    }
}

fn end_of_manager(manager: &Manager, trouble: &Trouble) {
    match trouble {
        Trouble::Pause(..) => manager.process.wake(),
        Trouble::CutLine(..) | Trouble::Forget(..) | Trouble::Stall(..) | Trouble::Deaf(..) => {
            manager.line.set(Way::Open);
        }
        Trouble::SlowLine(..) => manager.line.set_delay(Duration::ZERO),
        Trouble::Hear(..) => manager.line.set_hearing(Hearing::default()),
        Trouble::CutLink(_, node, _) => manager.cuts.send_modify(|cuts| {
            cuts.urls.remove(&url(*node));
        }),
        Trouble::LoseAnswers(_, node, _) => manager.cuts.send_modify(|cuts| {
            cuts.answers.remove(&url(*node));
        }),
        Trouble::Clock(..) => manager.clock.set_ahead(0),
        _ => {}
    }
}
