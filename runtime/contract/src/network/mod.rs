//! A network, said in YAML.
//!
//! Each kind of layer is a type that says what it makes of a row ([`LayerSpec`]): so the shapes, the weights and the
//! memory of a network are known before there is one, here, to the operator and to the engine alike.

mod convolution;
mod dense;
mod keras;
mod norm;
mod pool;
mod residual;
mod sequence;
mod shape;
mod table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validation::rules;
pub use convolution::{Conv1d, Conv2d, Convolution, Padding, Windows};
pub use dense::{Activation, Dense, Dropout, Flatten};
pub use norm::{BatchNorm, LayerNorm, Norm, RmsNorm};
pub use pool::{AveragePool1d, AveragePool2d, GlobalAveragePool, MaxPool1d, MaxPool2d, Pool};
pub use residual::Residual;
pub use sequence::{Attention, Embedding, Gru, Lstm, PositionEmbedding, Recurrent, TransformerBlock};
pub use shape::{Input, LayerSpec, Misfit, Outline, Shape, Weight};
pub use table::{Layer, LayerKind};

/// Most layers.
const MOST_LAYERS: usize = 64;
/// Columns that a row is taken to have as long as nobody has seen the table.
const LIKELY_INPUTS: u64 = 4096;

/// A network: the layers between the features and the prediction, in order.
///
/// The number of inputs is the number of feature columns and is not stated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.layers[self.layers.size() - 1].dense)",
     "the last of layers must be dense: its units are the outputs of the model"),
    ("(has(self.input) && has(self.input.height)) || !self.layers.exists(l, has(l.conv2d) || has(l.maxPool2d) || has(l.averagePool2d))",
     "conv2d, maxPool2d and averagePool2d take images: set network.input to height, width and channels"),
    ("(has(self.input) && has(self.input.length)) || has(self.layers[0].embedding) || !self.layers.exists(l, has(l.conv1d) || has(l.maxPool1d) || has(l.averagePool1d) || has(l.lstm) || has(l.gru) || has(l.attention) || has(l.transformerBlock) || has(l.positionEmbedding))",
     "conv1d, maxPool1d, averagePool1d, lstm, gru, attention, transformerBlock and positionEmbedding take sequences: set network.input to length and channels, or begin with embedding"),
    ("self.layers.filter(l, has(l.embedding)).size() == (has(self.layers[0].embedding) ? 1 : 0)",
     "embedding must be the first of layers: it takes the integers of the table"),
])))]
pub struct Network {
    /// What the feature columns are together: an image or a sequence. Absent: plain numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// The layers, from the input to the output (1 to 64).
    #[schemars(length(min = 1, max = 64))]
    pub layers: Vec<Layer>,
}

/// Path of a layer in the spec of a ModelTraining. The index counts all layers, dropout too.
pub fn layer_field(index: usize) -> String {
    format!("model.network.layers[{index}]")
}

impl Network {
    /// Of plain numbers.
    pub fn of(layers: Vec<Layer>) -> Self {
        Network { input: None, layers }
    }

    /// The number of integers that the table may hold, where the network looks them up.
    pub fn vocabulary(&self) -> Option<u32> {
        Some(self.layers.first()?.embedding?.vocabulary)
    }

    /// The layers one after another, for rows of so many columns, or of as many as there may be.
    ///
    /// # Errors
    /// What does not fit, named by its path in the spec of a ModelTraining.
    pub fn outline(&self, columns: Option<u64>) -> Result<Vec<Outline>, Misfit> {
        let count = self.layers.len();
        if !(1..=MOST_LAYERS).contains(&count) {
            return Err(Misfit::new(
                "model.network.layers",
                format!("a network has 1 to {MOST_LAYERS} layers"),
            ));
        }
        if self.layers[count - 1].dense.is_none() {
            let problem = "the last of layers must be dense: its units are the outputs of the model";
            return Err(Misfit::new(layer_field(count - 1), problem));
        }
        let mut shape = self.input_shape(columns)?;
        let mut outlines = Vec::with_capacity(count);
        for (index, layer) in self.layers.iter().enumerate() {
            let outline = layer
                .outline(shape)
                .map_err(|misfit| misfit.within(&layer_field(index)))?;
            shape = outline.output;
            if index > 0 && layer.embedding.is_some() {
                let problem = "it must be the first layer: it takes the integers of the table";
                return Err(Misfit::new(format!("{}.embedding", layer_field(index)), problem));
            }
            if let Some(residual) = layer.residual {
                let field = format!("{}.residual", layer_field(index));
                residual
                    .begins(index, &outlines)
                    .map_err(|misfit| misfit.within(&field))?;
            }
            outlines.push(outline);
        }
        Ok(outlines)
    }

    /// Refuses layers that do not fit together, for rows of so many columns; where that is not known yet, what no number
    /// of columns would mend.
    ///
    /// # Errors
    /// As [`Network::outline`].
    pub fn check(&self, columns: Option<u64>) -> Result<(), Misfit> {
        match self.outline(columns) {
            Err(misfit) if misfit.by_size && columns.is_none() && self.input.is_none() => Ok(()),
            outlined => outlined.map(drop),
        }
    }

    fn input_shape(&self, columns: Option<u64>) -> Result<Shape, Misfit> {
        const FIELD: &str = "model.network.input";
        let Some(input) = &self.input else {
            return Ok(Shape::Flat(columns.unwrap_or(LIKELY_INPUTS)));
        };
        let shape = input.shape().map_err(|misfit| misfit.within(FIELD))?;
        let values = shape.values();
        match columns.filter(|columns| *columns != values) {
            None => Ok(shape),
            Some(columns) => Err(Misfit::new(
                FIELD,
                format!(
                    "{shape} is {values} numbers, but a row has {columns} feature column(s): correct it, or name the \
                     {values} columns in dataset.features"
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn network(input: &Value, layers: &Value) -> Network {
        serde_json::from_value(json!({"input": input, "layers": layers})).unwrap()
    }

    fn image(height: u32, width: u32, channels: u32) -> Value {
        json!({"height": height, "width": width, "channels": channels})
    }

    fn shapes(network: &Network, columns: u64) -> Vec<Vec<u64>> {
        let outlines = network.outline(Some(columns)).unwrap();
        outlines.iter().map(|outline| outline.output.dims()).collect()
    }

    #[test]
    fn shapes_follow_one_another() {
        let network = network(
            &image(8, 9, 1),
            &json!([
                {"conv2d": {"filters": 4, "kernelSize": 3, "padding": "Same"}},
                {"maxPool2d": {"poolSize": 2}},
                {"conv2d": {"filters": 6, "kernelSize": 2, "stride": 2}},
                {"flatten": {}},
                {"dropout": {"rate": 0.5}},
                {"dense": {"units": 3}},
            ]),
        );
        let expected: [&[u64]; 6] = [&[8, 9, 4], &[4, 4, 4], &[2, 2, 6], &[24], &[24], &[3]];
        assert_eq!(shapes(&network, 72), expected);
        let outlines = network.outline(Some(72)).unwrap();
        let parameters: u64 = outlines.iter().map(Outline::parameters).sum();
        assert_eq!(parameters, (9 * 4 + 4) + (4 * 4 * 6 + 6) + (24 * 3 + 3));
        // Patches of 3 x 3 at each of 72 places.
        assert_eq!(outlines[0].widest, 72 * 9);
    }

    #[test]
    fn what_does_not_fit_names_layer_field_and_remedy() {
        let conv = |kernel: u32| json!({"conv2d": {"filters": 4, "kernelSize": kernel}});
        let end = json!({"dense": {"units": 1}});
        let flat = json!({"flatten": {}});
        for (input, layers, field, says) in [
            (
                Value::Null,
                json!([conv(3), flat, end]),
                "model.network.layers[0].conv2d",
                "set model.network.input",
            ),
            (
                image(7, 9, 1),
                json!([conv(9), flat, end]),
                "model.network.layers[0].conv2d.kernelSize",
                "does not fit into a height of 7: lower it to 7 or less, or set padding to Same",
            ),
            (
                image(8, 4, 2),
                json!([conv(2), flat, end]),
                "model.network.input",
                "height x width x channels) is 64 numbers, but a row has 63 feature column(s)",
            ),
            (
                json!({"height": 8, "width": 8, "length": 9}),
                json!([end]),
                "model.network.input",
                "either height and width, or length",
            ),
            (
                json!({"length": 63}),
                json!([{"conv1d": {"filters": 1, "kernelSize": 64}}, end]),
                "model.network.layers[0].conv1d.kernelSize",
                "does not fit into a length of 63",
            ),
            (
                json!({"length": 63}),
                json!([{"maxPool1d": {"poolSize": 64}}, end]),
                "model.network.layers[0].maxPool1d.poolSize",
                "lower it to 63",
            ),
            (
                json!({"length": 63}),
                json!([end]),
                "model.network.layers[0].dense",
                "put flatten or globalAveragePool before it",
            ),
            (
                json!({"length": 63}),
                json!([{"conv1d": {"filters": 0, "kernelSize": 1}}, flat, end]),
                "model.network.layers[0].conv1d.filters",
                "0 is not between 1 and 4096",
            ),
            (
                Value::Null,
                json!([{"globalAveragePool": {}}, end]),
                "model.network.layers[0].globalAveragePool",
                "leave it out",
            ),
            (
                json!({"length": 63}),
                json!([{"lstm": {"units": 4, "returnSequences": true}}, end]),
                "model.network.layers[1].dense",
                "put flatten",
            ),
            (
                json!({"length": 21, "channels": 3}),
                json!([{"gru": {"units": 6, "returnSequences": true}}, {"attention": {"heads": 4}}, flat, end]),
                "model.network.layers[1].attention.heads",
                "4 heads cannot share 6 channels evenly: choose one of 1, 2, 3, 6",
            ),
            (
                Value::Null,
                json!([{"dense": {"units": 4}}, {"embedding": {"vocabulary": 4, "dimensions": 2}}, flat, end]),
                "model.network.layers[1].embedding",
                "must be the first layer",
            ),
            (
                json!({"length": 21, "channels": 3}),
                json!([{"embedding": {"vocabulary": 4, "dimensions": 2}}, flat, end]),
                "model.network.layers[0].embedding",
                "leave model.network.input out",
            ),
            (
                Value::Null,
                json!([{"dense": {"units": 4}}, {"residual": {"over": 1}}, end]),
                "model.network.layers[1].residual.over",
                "give 63 channels",
            ),
            (
                Value::Null,
                json!([{"dense": {"units": 63}}, {"residual": {"over": 2}}, end]),
                "model.network.layers[1].residual.over",
                "there are 1 layer(s) before it, not 2: lower it to 1 or less",
            ),
            (
                Value::Null,
                json!([{"dense": {"units": 63}}, {"residual": {"over": 0}}, end]),
                "model.network.layers[1].residual.over",
                "0 is not between 1 and 16",
            ),
            (
                Value::Null,
                json!([{"dropout": {"rate": 1.0}}, end]),
                "model.network.layers[0].dropout.rate",
                "1 is not at least 0 and below 1",
            ),
            (
                Value::Null,
                json!([{"batchNorm": {"epsilon": 0.0}}, end]),
                "model.network.layers[0].batchNorm.epsilon",
                "0 is not between 0.000000001 and 1",
            ),
            (
                json!({"length": 63}),
                json!([{"attention": {"heads": 1, "dropout": 1.0}}, flat, end]),
                "model.network.layers[0].attention.dropout",
                "1 is not between 0 and 0.99",
            ),
            (
                json!({"length": 63, "channels": 0}),
                json!([end]),
                "model.network.input.channels",
                "0 is not between",
            ),
        ] {
            let network = network(&input, &layers);
            let misfit = network.outline(Some(63)).unwrap_err();
            assert_eq!(misfit.field, field, "{}", misfit.problem);
            assert!(misfit.problem.contains(says), "{}", misfit.problem);
        }
    }

    #[test]
    fn what_the_number_of_columns_decides_waits_for_the_table() {
        let residual = json!([{"dense": {"units": 63}}, {"residual": {"over": 1}}, {"dense": {"units": 1}}]);
        let network = network(&Value::Null, &residual);
        network.check(None).unwrap();
        network.check(Some(63)).unwrap();
        network.check(Some(62)).unwrap_err();
    }

    #[test]
    fn a_row_of_too_many_numbers_is_refused_before_it_is_made() {
        let network = network(
            &image(4096, 4096, 1),
            &json!([{"conv2d": {"filters": 4096, "kernelSize": 1}}, {"flatten": {}}, {"dense": {"units": 1}}]),
        );
        let misfit = network.outline(None).unwrap_err();
        assert_eq!(misfit.field, "model.network.layers[0].conv2d");
        assert!(
            misfit.problem.contains("more than 67108864 numbers"),
            "{}",
            misfit.problem
        );
    }

    #[test]
    fn windows_lie_as_in_keras() {
        let of = |points, size, stride, padding| {
            Windows::new(points, size, stride, padding).map(|windows| (windows.count, windows.before))
        };
        assert_eq!(of(8, 3, 1, Padding::Valid), Some((6, 0)));
        assert_eq!(of(8, 3, 2, Padding::Valid), Some((3, 0)));
        assert_eq!(of(8, 3, 1, Padding::Same), Some((8, 1)));
        assert_eq!(of(8, 4, 1, Padding::Same), Some((8, 1)));
        assert_eq!(of(8, 3, 2, Padding::Same), Some((4, 0)));
        assert_eq!(of(2, 3, 1, Padding::Valid), None);
        assert_eq!(of(1, 1, 5, Padding::Same), Some((1, 0)));
    }
}
