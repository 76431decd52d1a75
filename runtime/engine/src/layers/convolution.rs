//! Convolutions: the windows as the rows of a matrix, times the filters (Chellapilla, Puri and Simard 2006).

use candle_core::{Tensor, Var};
use sconce_contract::network::{Convolution, Misfit, Windows};

use super::{
    Built, Named, Source, Stage, Start, affine::affine, dense::limit, source::narrow, windows::Grid,
};
use crate::{EngineError, Random, plan::Planned};

/// `W` is `[height, width, channels, filters]`, without the height for sequences; `b` `[filters]`.
#[derive(Debug)]
struct Filters {
    grid: Grid,
    weight: Var,
    bias: Var,
    /// Of a row that comes out.
    output: Vec<usize>,
}

pub(super) fn build(
    spec: &Convolution,
    windows: Result<[Windows; 2], Misfit>,
    source: &mut Source<'_>,
) -> Result<Built, EngineError> {
    let over = windows.map_err(|misfit| source.misfit(misfit))?;
    let grid = Grid {
        over,
        channels: narrow(source.input().channels()),
    };
    // Each output is a sum over a window, and each input is in as many sums as a window has points (He et al. 2015).
    let (seen, seeing) = (
        grid.window() * grid.channels,
        grid.window() * spec.filters as usize,
    );
    let start = Start::Uniform {
        limit: limit(spec.activation, seen, seeing),
    };
    let filters = Filters {
        grid,
        weight: source.var("weight", start)?,
        bias: source.var("bias", Start::Zero)?,
        output: source.output().dims().into_iter().map(narrow).collect(),
    };
    Ok(Built::activated(filters, spec.activation))
}

impl Filters {
    fn apply(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor, EngineError> {
        let patches = self.grid.patches(x)?;
        let inputs = self.grid.window() * self.grid.channels;
        let weight = weight.reshape((inputs, bias.elem_count()))?;
        let shape = [&[x.dim(0)?], &*self.output].concat();
        Ok(affine(&patches, &weight, bias)?.reshape(shape)?)
    }
}

impl Stage for Filters {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        self.apply(
            x,
            &self.weight.as_detached_tensor(),
            &self.bias.as_detached_tensor(),
        )
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        self.apply(x, self.weight.as_tensor(), self.bias.as_tensor())
    }

    fn parameters(&self) -> Named<'_> {
        vec![("weight", &self.weight), ("bias", &self.bias)]
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Convolution {
            grid: self.grid,
            weight: self.weight.as_tensor(),
            bias: self.bias.as_tensor(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::gradient_check::layer;

    #[test]
    fn gradient_conv2d() {
        for (stride, padding, activation) in [
            (1, "Valid", "Linear"),
            (1, "Same", "Tanh"),
            (2, "Valid", "Sigmoid"),
            (2, "Same", "GELU"),
        ] {
            let spec = json!({"conv2d": {
                "filters": 3, "kernelSize": 3, "stride": stride, "padding": padding, "activation": activation,
            }});
            layer(&spec, &json!({"height": 4, "width": 5, "channels": 2}), 2);
        }
    }

    #[test]
    fn gradient_conv1d() {
        for (stride, padding) in [(1, "Valid"), (1, "Same"), (3, "Valid"), (2, "Same")] {
            let spec =
                json!({"conv1d": {"filters": 3, "kernelSize": 4, "stride": stride, "padding": padding}});
            layer(&spec, &json!({"length": 7, "channels": 2}), 2);
        }
    }
}
