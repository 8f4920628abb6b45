//! The one table of defaults.
use super::service::{Restart, RestartCondition};
use super::unit::Period;
impl Default for Restart {
    fn default() -> Self {
        Self {
            condition: RestartCondition::Any,
            delay: Period::seconds(1),
            max_delay: Period::seconds(300),
            max_attempts: 0,
            window: Period::seconds(0),
        }
    }
}
