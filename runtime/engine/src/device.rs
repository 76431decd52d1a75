//! Where the numbers of a network are.
//!
//! Whether CUDA is there is decided by how candle was built, not by a feature of ours: the programs of `runtime/cuda` are
//! the same as the others, with candle's feature `cuda`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::{Device as Place, utils::cuda_is_available};
use sconce_contract::Device;

use crate::EngineError;

/// Whether this program was built for a device; whether there is one, [`open`] tells.
pub fn is_built_for(device: Device) -> bool {
    match device {
        Device::Cpu => true,
        Device::Cuda => cuda_is_available(),
        _ => false,
    }
}

/// The device as candle knows it: of several GPUs the first that the process sees.
///
/// # Errors
/// [`EngineError::NoDevice`] where the program was not built for it, or the driver or a library is missing, or there is
/// no GPU.
pub fn open(device: Device) -> Result<Place, EngineError> {
    let missing = |problem: String| EngineError::NoDevice { device, problem };
    match device {
        Device::Cpu => Ok(Place::Cpu),
        Device::Cuda => {
            // A library that is not there is a panic of cudarc's.
            let opened = catch_unwind(AssertUnwindSafe(|| Place::new_cuda(0)));
            let opened = opened.map_err(|payload| missing(sentence(payload.downcast_ref::<String>())))?;
            opened.map_err(|error| missing(error.to_string()))
        }
        _ => Err(missing("this program was not built for it".to_owned())),
    }
}

/// What cudarc says of a library that it cannot open is advice for programmers; its name is what is wanted.
fn sentence(panic: Option<&String>) -> String {
    let said = panic.map_or("a library of CUDA cannot be opened", String::as_str);
    match said.split('"').nth(1) {
        Some(library) if said.starts_with("Unable to dynamically load") => {
            format!("the library lib{library} cannot be opened")
        }
        _ => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_always_there_and_what_was_not_built_for_is_told() {
        assert!(is_built_for(Device::Cpu) && open(Device::Cpu).is_ok_and(|place| place.is_cpu()));
        for device in [Device::ROCm, Device::Tpu] {
            assert!(!is_built_for(device));
            let error = open(device).err().map(|error| error.to_string());
            assert!(
                error.is_some_and(|error| error.contains("not built for it")),
                "{device:?}"
            );
        }
    }

    #[test]
    fn of_a_library_that_is_missing_the_name_is_told() {
        let said = "Unable to dynamically load the \"cublas\" shared library - searched for: [\"libcublas.so\"]. Ensure";
        assert_eq!(
            sentence(Some(&said.to_owned())),
            "the library libcublas cannot be opened"
        );
        assert_eq!(sentence(Some(&"another panic".to_owned())), "another panic");
        assert_eq!(sentence(None), "a library of CUDA cannot be opened");
    }
}
