//! The core protocol as two small models, explored whole: elections with their terms, and the hand-over of shards with
//! the orders to engines. README.md beside this file says what is modelled, within which bounds, what holds, and what is
//! left out.

mod check;
mod orders;
mod terms;
