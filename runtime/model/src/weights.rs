//! Weights as safetensors: a header of names and offsets, then the numbers.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, View};

/// Numbers with a shape, where they lie.
#[derive(Clone, Debug)]
pub struct Numbers<'a> {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Cow<'a, [f32]>,
}

impl View for &Numbers<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        for value in &*self.values {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

impl Numbers<'static> {
    /// A copy of a tensor's F32 numbers.
    pub fn of(name: &str, tensor: &Tensor) -> Result<Self, String> {
        if tensor.dtype() != DType::F32 {
            return Err(format!(
                "the tensor {name} holds {:?} numbers, not F32",
                tensor.dtype()
            ));
        }
        let flat = tensor
            .to_device(&Device::Cpu)
            .and_then(|tensor| tensor.flatten_all()?.to_vec1::<f32>());
        Ok(Numbers {
            shape: tensor.dims().to_vec(),
            values: flat
                .map_err(|error| format!("the tensor {name} cannot be read: {error}"))?
                .into(),
        })
    }
}

/// The bytes of a file with these numbers. The same numbers give the same bytes.
pub fn serialize(numbers: &BTreeMap<String, Numbers<'_>>) -> Result<Vec<u8>, String> {
    safetensors::serialize(numbers, None).map_err(|error| error.to_string())
}

/// The bytes of a file with these tensors, F32 only. The same tensors give the same bytes.
pub(crate) fn write(weights: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, String> {
    let mut numbers = BTreeMap::new();
    for (name, tensor) in weights {
        numbers.insert(name.clone(), Numbers::of(name, tensor)?);
    }
    serialize(&numbers)
}

/// The F32 tensors in the bytes. What is not a file of them is an error, whatever it claims: the header is
/// checked against the length, and nothing is allocated before that.
pub fn deserialize(bytes: &[u8]) -> Result<HashMap<String, Tensor>, String> {
    tensors(bytes, false)
}

/// The same, and every number must be finite.
pub(crate) fn read(bytes: &[u8]) -> Result<HashMap<String, Tensor>, String> {
    tensors(bytes, true)
}

fn tensors(bytes: &[u8], finite: bool) -> Result<HashMap<String, Tensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| format!("is not safetensors ({error})"))?;
    let mut weights = HashMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("holds {:?} numbers in {name}, not F32", view.dtype()));
        }
        let numbers: Vec<f32> = view
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect();
        if finite && !numbers.iter().all(|number| number.is_finite()) {
            return Err(format!("holds a number in {name} that is not finite"));
        }
        let tensor = Tensor::from_vec(numbers, view.shape(), &Device::Cpu)
            .map_err(|error| format!("holds a tensor {name} that cannot be used: {error}"))?;
        weights.insert(name.to_owned(), tensor);
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let tensor =
            |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        let weights = BTreeMap::from([
            (
                "layers.0.weight".to_owned(),
                tensor(&[1.0, 2.0, 3.0, 4.0], &[2, 2]).t().unwrap(),
            ),
            ("layers.0.bias".to_owned(), tensor(&[0.5, -0.5], &[2])),
        ]);
        write(&weights).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = file();
        assert_eq!(bytes, file());
        let weights = read(&bytes).unwrap();
        assert_eq!(
            weights["layers.0.weight"].to_vec2::<f32>().unwrap(),
            [[1.0, 3.0], [2.0, 4.0]]
        );
        assert_eq!(weights["layers.0.bias"].to_vec1::<f32>().unwrap(), [0.5, -0.5]);
    }

    #[test]
    fn hostile_headers_are_errors() {
        let with_header = |header: &str| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.extend([0; 16]);
            bytes
        };
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        for header in [
            "",
            "{",
            "null",
            r#"{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,16]}}"#,
            r#"{"a":{"dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,16]}}"#,
            r#"{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#,
            r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}"#,
            r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,18446744073709551615]}}"#,
            r#"{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}"#,
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
            &deep,
        ] {
            assert!(read(&with_header(header)).is_err(), "{header:.100}");
        }
        for length in [0, 1, 15, 1 << 40, u64::MAX, i64::MAX as u64] {
            let mut bytes = file();
            bytes[..8].copy_from_slice(&length.to_le_bytes());
            assert!(read(&bytes).is_err(), "{length}");
        }
        let mut nan = file();
        let end = nan.len();
        nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(read(&nan).unwrap_err().contains("not finite"));
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let bytes = file();
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_flipped_bit_never_panics() {
        let bytes = file();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = read(&bytes);
        }
    }
}
