//! How an engine tells of its events: as they happen, or badly. Pure.

use super::state::Subscriber;
use crate::engine::EngineEvent;

/// What becomes of an engine's events on their way to those who listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telling {
    /// Each comes once, in order.
    #[default]
    Well,
    /// None comes, and the streams stay open.
    Nothing,
    /// Each comes twice.
    Twice,
    /// Two that follow each other change places.
    Swapped,
    /// Every second one is lost.
    EverySecond,
}

/// Those who listen to an engine.
#[derive(Default)]
pub(super) struct Teller {
    subscribers: Vec<Subscriber>,
    telling: Telling,
    /// The one that comes after the next.
    held: Option<EngineEvent>,
    count: u64,
}

impl Teller {
    pub(super) fn subscribe(&mut self, subscriber: Subscriber) {
        self.subscribers.push(subscriber);
    }

    /// Every stream ends.
    pub(super) fn hang_up(&mut self) {
        self.subscribers.clear();
        self.held = None;
    }

    pub(super) fn set(&mut self, telling: Telling) {
        self.telling = telling;
        if let Some(held) = self.held.take() {
            self.send(&held);
        }
    }

    pub(super) fn tell(&mut self, event: EngineEvent) {
        self.count += 1;
        match self.telling {
            Telling::Well => self.send(&event),
            Telling::Nothing => {}
            Telling::Twice => {
                self.send(&event);
                self.send(&event);
            }
            Telling::Swapped => match self.held.take() {
                None => self.held = Some(event),
                Some(held) => {
                    self.send(&event);
                    self.send(&held);
                }
            },
            Telling::EverySecond if self.count.is_multiple_of(2) => {}
            Telling::EverySecond => self.send(&event),
        }
    }

    /// One that does not keep up loses its stream, as from a real engine.
    fn send(&mut self, event: &EngineEvent) {
        self.subscribers
            .retain(|subscriber| subscriber.try_send(Ok(event.clone())).is_ok());
    }
}
