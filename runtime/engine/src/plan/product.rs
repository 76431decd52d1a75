//! Products of matrices, by the crate gemm.
//!
//! The one place where memory is handed over by address: gemm takes pointers, so a [`Matrix`] proves beforehand
//! that every address lies within the slice that it borrows.

#![allow(unsafe_code)]

use gemm::Parallelism;

/// Multiplications from which on threads share a product: one thread takes about 40 µs for so many, so that waking
/// another is a small part of it.
const SHARED: usize = 1 << 21;

/// A matrix within a slice, or its transpose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, row after row, from the beginning of the slice.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(
            holds(values.len(), rows, columns),
            "the slice is shorter than its matrix"
        );
        Matrix {
            values,
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// `[columns, rows]` over the same memory.
    pub(super) fn transposed(self) -> Self {
        Matrix {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

fn holds(length: usize, rows: usize, columns: usize) -> bool {
    rows.checked_mul(columns).is_some_and(|needed| needed <= length)
}

/// `product ← left · right`, or `product ← product + left · right`; `product` is `[left.rows, right.columns]`, row
/// after row, from the beginning of the slice. Panics where the shapes do not fit, which is a defect of the caller.
pub(super) fn multiply(product: &mut [f32], add: bool, left: Matrix<'_>, right: Matrix<'_>, threads: usize) {
    let (rows, depth, columns) = (left.rows, left.columns, right.columns);
    assert!(right.rows == depth, "the inner sides of the factors differ");
    assert!(
        holds(product.len(), rows, columns),
        "the slice is shorter than its matrix"
    );
    let work = rows.saturating_mul(depth).saturating_mul(columns);
    let parallelism = if threads > 1 && work >= SHARED {
        Parallelism::Rayon(threads)
    } else {
        Parallelism::None
    };
    // SAFETY: gemm reads `left[i·rs + j·cs]` for i < rows and j < depth, `right` likewise for depth and columns, and
    // reads and writes `product[i·columns + j]` for i < rows and j < columns. Of a Matrix either (rs, cs) is
    // (columns, 1) or, transposed, (1, rows of the original); in both cases the greatest index is
    // rows · columns − 1, which `new` has found to be below the length of the slice; `holds` has found the same of
    // `product`. A side of 0 gives no index at all. `product` is borrowed mutably, so neither factor overlaps it.
    // A slice is at most isize::MAX bytes long, so no stride overflows isize.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            product.as_mut_ptr(),
            1,
            columns as isize,
            add,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|index| ((index * 7 + seed) % 11) as f32 - 5.0)
            .collect()
    }

    fn plain(left: &[f32], right: &[f32], rows: usize, depth: usize, columns: usize) -> Vec<f32> {
        let at = |row: usize, column: usize| {
            (0..depth)
                .map(|k| left[row * depth + k] * right[k * columns + column])
                .sum()
        };
        (0..rows * columns)
            .map(|index| at(index / columns, index % columns))
            .collect()
    }

    fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..rows * columns)
            .map(|index| values[index % rows * columns + index / rows])
            .collect()
    }

    #[test]
    fn products_are_those_of_the_definition_in_all_shapes() {
        for (rows, depth, columns) in [
            (1, 1, 1),
            (32, 100, 128),
            (7, 3, 1),
            (33, 17, 65),
            (1, 64, 5),
            (200, 120, 130),
        ] {
            let (left, right) = (numbers(rows * depth, 1), numbers(depth * columns, 4));
            let expected = plain(&left, &right, rows, depth, columns);
            let (turned_left, turned_right) =
                (transpose(&left, rows, depth), transpose(&right, depth, columns));
            let straight = (
                Matrix::new(&left, rows, depth),
                Matrix::new(&right, depth, columns),
            );
            let turned = (
                Matrix::new(&turned_left, depth, rows).transposed(),
                Matrix::new(&turned_right, columns, depth).transposed(),
            );
            for (left, right) in [straight, (straight.0, turned.1), (turned.0, straight.1), turned] {
                for threads in [1, 2] {
                    let mut product = vec![f32::NAN; rows * columns];
                    multiply(&mut product, false, left, right, threads);
                    assert_eq!(product, expected, "{rows}·{depth}·{columns}");
                    multiply(&mut product, true, left, right, threads);
                    assert!(
                        product
                            .iter()
                            .zip(&expected)
                            .all(|(twice, once)| *twice == 2.0 * once)
                    );
                }
            }
        }
    }

    #[test]
    fn a_matrix_without_rows_changes_nothing_and_one_without_depth_is_zero() {
        let mut product = [1.0; 4];
        multiply(
            &mut product,
            false,
            Matrix::new(&[], 0, 3),
            Matrix::new(&[1.0; 6], 3, 2),
            1,
        );
        assert_eq!(product, [1.0; 4]);
        multiply(
            &mut product,
            false,
            Matrix::new(&[], 2, 0),
            Matrix::new(&[], 0, 2),
            1,
        );
        assert_eq!(product, [0.0; 4]);
    }

    #[test]
    #[should_panic(expected = "the slice is shorter than its matrix")]
    fn a_slice_that_is_too_short_is_refused() {
        multiply(
            &mut [0.0; 3],
            false,
            Matrix::new(&[0.0; 4], 2, 2),
            Matrix::new(&[0.0; 4], 2, 2),
            1,
        );
    }

    #[test]
    #[should_panic(expected = "the inner sides of the factors differ")]
    fn factors_that_do_not_fit_are_refused() {
        multiply(
            &mut [0.0; 9],
            false,
            Matrix::new(&[0.0; 6], 3, 2),
            Matrix::new(&[0.0; 9], 3, 3),
            1,
        );
    }
}
