//! Vectors for integers and for places.

use candle_core::{DType, Device, Tensor, Var};
use sconce_contract::network::{Embedding, Misfit, PositionEmbedding};

use super::{Built, Named, Source, Stage, Start};
use crate::{EngineError, Random};

/// Half the width of the interval that vectors start in, as in Keras.
const START: Start = Start::Uniform { limit: 0.05 };

/// `[vocabulary, dimensions]`.
#[derive(Debug)]
struct Vectors {
    weight: Var,
    /// The field that says how many there are.
    field: String,
}

pub(super) fn build(_: Embedding, source: &mut Source<'_>) -> Result<Built, EngineError> {
    Ok(Built::of(Vectors {
        weight: source.var("weight", START)?,
        field: source.field("vocabulary"),
    }))
}

impl Vectors {
    /// `[rows, length]` or `[rows, length, 1]` → `[rows, length, dimensions]`.
    fn look_up(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor, EngineError> {
        let (vocabulary, dimensions) = weight.dims2()?;
        let numbers: Vec<f64> = x
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F64)?
            .flatten_all()?
            .to_vec1()?;
        let known = |number: f64| number >= 0.0 && number < vocabulary as f64 && number.fract() == 0.0;
        if let Some(number) = numbers.iter().find(|number| !known(**number)) {
            let problem = format!(
                "a row holds {number}, but the vocabulary is the integers from 0 to {}: raise it or correct the table",
                vocabulary - 1
            );
            return Err(Misfit::new(&self.field, problem).into());
        }
        let count = numbers.len();
        let indices: Vec<u32> = numbers.into_iter().map(|number| number as u32).collect();
        let indices = Tensor::from_vec(indices, count, x.device())?;
        let rows = x.dim(0)?;
        Ok(weight
            .index_select(&indices, 0)?
            .reshape((rows, count / rows.max(1), dimensions))?)
    }
}

impl Stage for Vectors {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        self.look_up(x, &self.weight.as_detached_tensor())
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        self.look_up(x, self.weight.as_tensor())
    }

    fn parameters(&self) -> Named<'_> {
        vec![("weight", &self.weight)]
    }
}

/// `[length, channels]`, added to each row.
#[derive(Debug)]
struct Places {
    weight: Var,
}

pub(super) fn places(_: PositionEmbedding, source: &mut Source<'_>) -> Result<Built, EngineError> {
    Ok(Built::of(Places {
        weight: source.var("weight", START)?,
    }))
}

impl Stage for Places {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        Ok(x.broadcast_add(&self.weight.as_detached_tensor())?)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        Ok(x.broadcast_add(self.weight.as_tensor())?)
    }

    fn parameters(&self) -> Named<'_> {
        vec![("weight", &self.weight)]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gradient_check::{layer, layer_of};

    #[test]
    fn gradient_embedding() {
        let spec = json!({"embedding": {"vocabulary": 4, "dimensions": 3}});
        // One integer twice in a row, one in no row.
        layer_of(&spec, &json!(3), &[0.0, 1.0, 1.0, 3.0, 0.0, 0.0]);
    }

    #[test]
    fn gradient_position_embedding() {
        layer(
            &json!({"positionEmbedding": {}}),
            &json!({"length": 3, "channels": 2}),
            2,
        );
    }

    #[test]
    fn what_is_not_in_the_vocabulary_is_told() {
        let weight = Tensor::zeros((4, 2), DType::F32, &Device::Cpu).unwrap();
        let vectors = Vectors {
            weight: Var::from_tensor(&weight).unwrap(),
            field: "model.network.layers[0].embedding.vocabulary".to_owned(),
        };
        for wrong in [4.0, -1.0, 0.5, f32::NAN, f32::INFINITY] {
            let x = Tensor::from_slice(&[0.0, wrong], (1, 2), &Device::Cpu).unwrap();
            let error = vectors.infer(&x).unwrap_err();
            let field = error.failure().field;
            assert_eq!(
                field.as_deref(),
                Some("model.network.layers[0].embedding.vocabulary")
            );
            assert!(error.to_string().contains("the integers from 0 to 3"), "{error}");
        }
        let x = Tensor::from_slice(&[0f32, 3.0], (1, 2), &Device::Cpu).unwrap();
        assert_eq!(vectors.infer(&x).unwrap().dims(), [1, 2, 2]);
    }
}
