//! A step by the plan asks for no memory, but for what gemm takes.
#![allow(clippy::unwrap_used)] // A test fails by panicking.
#![allow(unsafe_code)] // An allocator is unsafe by its trait.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use candle_core::Device;
use sconce_contract::{Activation, Hyperparameters, Layer, Loss, Network, network::BatchNorm};
use sconce_engine::{Learner, Objective, Rows, Sequential, metrics::Targets};

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// Counts how often this thread asks for memory.
struct Counting;

// SAFETY: all work is the system's allocator's, whose promises are those of the trait; counting touches a number of
// the thread only, which has no destructor and needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.with(|asked| asked.set(asked.get() + 1));
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn after_the_first_step_only_gemm_asks_for_memory_once_a_product() {
    let network = Network {
        input: None,
        layers: vec![
            Layer::dense(128, Activation::ReLU),
            Layer {
                batch_norm: Some(BatchNorm {
                    momentum: 0.9,
                    epsilon: 1e-5,
                }),
                ..Layer::default()
            },
            Layer::dropout(0.1),
            Layer::dense(64, Activation::GELU),
            Layer::dense(1, Activation::Sigmoid),
        ],
    };
    let settings = Hyperparameters {
        clip_norm: Some(1.0),
        ..Hyperparameters::default()
    };
    let model = Sequential::initialised(&network, 100, 7, &Device::Cpu).unwrap();
    let objective = Objective::new(Loss::BinaryCrossEntropy, Activation::Sigmoid, &settings, vec![]);
    let mut learner = Learner::threaded(model, &objective, &settings, 1).unwrap();
    let x = vec![0.1; 32 * 100];
    let classes = [0, 1].repeat(16);
    let rows = |count: usize| Rows {
        x: &x[..count * 100],
        targets: Targets::Classes(&classes[..count]),
    };
    learner.step(&rows(32), 0.01).unwrap();
    let before = ASKED.get();
    for count in [32, 7, 32] {
        learner.step(&rows(count), 0.01).unwrap();
    }
    // Three layers, of which the first needs two products and the others three.
    assert_eq!(ASKED.get() - before, 3 * 8);
}
