//! Attention (Vaswani et al. 2017), and the block of it with two dense layers, normed before each half (Xiong et al.
//! 2020). Composed of operations whose gradients candle records: its fused attention drops them.

use candle_core::{Tensor, Var};
use sconce_contract::{
    Activation,
    network::{Attention, Norm, TransformerBlock},
};

use super::{
    Built, Named, Source, Stage, Start, activate, affine::affine, dense::limit, dropout, norm::Point,
    source::narrow,
};
use crate::{EngineError, Random};

/// Added to the variance by the norms.
const EPSILON: f64 = 1e-5;
/// Takes a step out of a weighting, and is finite.
const NEVER: f64 = -1e30;

/// How the weights are read: with a record for gradients and random numbers, or without.
struct Mode<'a> {
    random: Option<&'a mut Random>,
}

impl Mode<'_> {
    fn read(&self, var: &Var) -> Tensor {
        match self.random {
            Some(_) => var.as_tensor().clone(),
            None => var.as_detached_tensor(),
        }
    }

    fn drop(&mut self, rate: f64, x: Tensor) -> Result<Tensor, EngineError> {
        match &mut self.random {
            Some(random) => dropout::drop(rate, &x, random),
            None => Ok(x),
        }
    }
}

/// `x · W + b` for each step.
#[derive(Debug)]
struct Projection {
    names: [&'static str; 2],
    weight: Var,
    bias: Var,
}

impl Projection {
    fn new(
        names: [&'static str; 2],
        function: Activation,
        [inputs, outputs]: [usize; 2],
        source: &mut Source<'_>,
    ) -> Result<Self, EngineError> {
        let start = Start::Uniform {
            limit: limit(function, inputs, outputs),
        };
        Ok(Projection {
            names,
            weight: source.var(names[0], start)?,
            bias: source.var(names[1], Start::Zero)?,
        })
    }

    /// `[steps, inputs]` → `[steps, outputs]`.
    fn apply(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor, EngineError> {
        affine(x, &mode.read(&self.weight), &mode.read(&self.bias))
    }

    fn parameters(&self) -> Named<'_> {
        vec![(self.names[0], &self.weight), (self.names[1], &self.bias)]
    }
}

/// Each step as a mean of all steps.
#[derive(Debug)]
struct Attend {
    heads: usize,
    dropout: f64,
    causal: bool,
    query: Projection,
    key: Projection,
    value: Projection,
    output: Projection,
}

impl Attend {
    fn new(spec: Attention, source: &mut Source<'_>) -> Result<Self, EngineError> {
        let channels = narrow(source.input().channels());
        let mut projection =
            |weight, bias| Projection::new([weight, bias], Activation::Linear, [channels, channels], source);
        Ok(Attend {
            heads: spec.heads as usize,
            dropout: spec.dropout,
            causal: spec.causal,
            query: projection("query.weight", "query.bias")?,
            key: projection("key.weight", "key.bias")?,
            value: projection("value.weight", "value.bias")?,
            output: projection("output.weight", "output.bias")?,
        })
    }

    /// `[rows, length, channels]`, and so is what it answers.
    fn apply(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor, EngineError> {
        let (rows, length, channels) = x.dims3()?;
        let steps = x.reshape((rows * length, channels))?;
        let split = |projection: &Projection, mode: &Mode<'_>| -> Result<Tensor, EngineError> {
            let projected = projection.apply(&steps, mode)?;
            let split = projected.reshape((rows, length, self.heads, channels / self.heads))?;
            Ok(split.transpose(1, 2)?.contiguous()?)
        };
        let (query, key, value) = (
            split(&self.query, mode)?,
            split(&self.key, mode)?,
            split(&self.value, mode)?,
        );
        let scale = 1.0 / ((channels / self.heads) as f64).sqrt();
        let mut scores = (query.matmul(&key.t()?)? * scale)?;
        if self.causal {
            let hidden = |place: usize| {
                if place % length > place / length {
                    NEVER
                } else {
                    0.0
                }
            };
            let mask: Vec<f64> = (0..length * length).map(hidden).collect();
            let mask = Tensor::from_vec(mask, (length, length), x.device())?.to_dtype(x.dtype())?;
            scores = scores.broadcast_add(&mask)?;
        }
        let shares = mode.drop(self.dropout, activate(Activation::Softmax, &scores)?)?;
        let mixed = shares.matmul(&value)?.transpose(1, 2)?.contiguous()?;
        let mixed = self
            .output
            .apply(&mixed.reshape((rows * length, channels))?, mode)?;
        Ok(mixed.reshape(x.shape())?)
    }

    fn parameters(&self) -> Named<'_> {
        [&self.query, &self.key, &self.value, &self.output]
            .into_iter()
            .flat_map(Projection::parameters)
            .collect()
    }
}

pub(super) fn build(spec: Attention, source: &mut Source<'_>) -> Result<Built, EngineError> {
    Ok(Built::of(Attend::new(spec, source)?))
}

impl Stage for Attend {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        self.apply(x, &mut Mode { random: None })
    }

    fn train(&self, x: &Tensor, random: &mut Random) -> Result<Tensor, EngineError> {
        self.apply(x, &mut Mode { random: Some(random) })
    }

    fn parameters(&self) -> Named<'_> {
        self.parameters()
    }
}

/// `x + attention(norm x)`, then `x + shrink(GELU(expand(norm x)))`.
#[derive(Debug)]
struct Block {
    dropout: f64,
    attention_norm: Point,
    attention: Attend,
    feed_forward_norm: Point,
    expand: Projection,
    shrink: Projection,
}

pub(super) fn block(spec: TransformerBlock, source: &mut Source<'_>) -> Result<Built, EngineError> {
    let (channels, inner) = (narrow(source.input().channels()), spec.feed_forward as usize);
    let attention = Attention {
        heads: spec.heads,
        dropout: spec.dropout,
        causal: spec.causal,
    };
    let norm = Norm { epsilon: EPSILON };
    Ok(Built::of(Block {
        dropout: spec.dropout,
        attention_norm: Point::new(["attention_norm.scale", "attention_norm.bias"], norm, source)?,
        attention: Attend::new(attention, source)?,
        feed_forward_norm: Point::new(
            ["feed_forward_norm.scale", "feed_forward_norm.bias"],
            norm,
            source,
        )?,
        expand: Projection::new(
            ["expand.weight", "expand.bias"],
            Activation::GELU,
            [channels, inner],
            source,
        )?,
        shrink: Projection::new(
            ["shrink.weight", "shrink.bias"],
            Activation::Linear,
            [inner, channels],
            source,
        )?,
    }))
}

impl Block {
    fn apply(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor, EngineError> {
        let normed = self.attention_norm.apply(x, |var| mode.read(var))?;
        let mixed = self.attention.apply(&normed, mode)?;
        let x = (x + mode.drop(self.dropout, mixed)?)?;
        let (rows, length, channels) = x.dims3()?;
        let steps = self
            .feed_forward_norm
            .apply(&x, |var| mode.read(var))?
            .reshape((rows * length, channels))?;
        let inner = activate(Activation::GELU, &self.expand.apply(&steps, mode)?)?;
        let inner = self.shrink.apply(&inner, mode)?.reshape(x.shape())?;
        Ok((&x + mode.drop(self.dropout, inner)?)?)
    }
}

impl Stage for Block {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        self.apply(x, &mut Mode { random: None })
    }

    fn train(&self, x: &Tensor, random: &mut Random) -> Result<Tensor, EngineError> {
        self.apply(x, &mut Mode { random: Some(random) })
    }

    fn parameters(&self) -> Named<'_> {
        let mut named = self.attention_norm.parameters();
        named.extend(self.attention.parameters());
        named.extend(self.feed_forward_norm.parameters());
        named.extend(self.expand.parameters());
        named.extend(self.shrink.parameters());
        named
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::gradient_check::layer;

    #[test]
    fn gradient_attention() {
        for (causal, dropout) in [(false, 0.0), (true, 0.0), (false, 0.4)] {
            let spec = json!({"attention": {"heads": 2, "causal": causal, "dropout": dropout}});
            layer(&spec, &json!({"length": 3, "channels": 4}), 2);
        }
    }

    #[test]
    fn gradient_transformer_block() {
        for (causal, dropout) in [(true, 0.0), (false, 0.3)] {
            let spec = json!({"transformerBlock": {
                "heads": 2, "feedForward": 5, "causal": causal, "dropout": dropout,
            }});
            layer(&spec, &json!({"length": 3, "channels": 4}), 2);
        }
    }
}
