//! What is trained and how: masks, routing of gradients, loss, optimiser, augmentation.

pub mod augment;
pub mod fake_quant;
pub mod loss;
pub mod masks;
pub mod optimiser;
pub mod random;
pub mod routing;
pub mod schedule;
pub mod width;
