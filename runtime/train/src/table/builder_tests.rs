//! Tests of `builder`.

use super::*;

fn dataset() -> Dataset {
    let dataset = serde_json::json!({"uri": "file:///tables", "target": "y", "features": ["a"]});
    serde_json::from_value(dataset).unwrap()
}

/// Reads a file of rows, of which as many more are expected after the first.
fn file(builder: &mut Builder<'_>, rows: u64) {
    builder.begin(None, Vec::new());
    builder
        .header(&["a".to_owned(), "y".to_owned()], Unit::Line)
        .unwrap();
    for row in 0..rows {
        let row = |position| Cell::Integer(row as i64 * 2 + position as i64);
        builder.row(2, row).unwrap();
        if builder.rows() as u64 % rows == 1 {
            builder.expect(rows - 1);
        }
    }
}

#[test]
fn a_narrow_table_goes_to_disk_before_its_targets_alone_fill_the_room() {
    let dataset = dataset();
    for (rows, on_disk) in [(500, false), (2000, true)] {
        // Of 20,000 bytes for rows, the values alone would take 8000.
        let room = Room {
            memory: 50_000,
            folder: std::env::temp_dir(),
        };
        let mut builder = Builder::new(&dataset, Some(room));
        file(&mut builder, rows);
        let table = builder.finish().unwrap();
        assert_eq!(table.stored.is_some(), on_disk, "{rows}");
        let mut read = Vec::new();
        table
            .each(|row, values| {
                read.push((row, values.to_vec()));
                Ok::<(), TrainError>(())
            })
            .unwrap();
        assert!(
            read.into_iter()
                .eq((0..rows as usize).map(|row| (row, vec![2.0 * row as f32])))
        );
    }
}

#[test]
fn a_table_of_many_files_is_moved_a_few_times_only() {
    let dataset = dataset();
    let mut builder = Builder::new(&dataset, None);
    let (mut moved, mut capacity) = (0, 0);
    for _ in 0..300 {
        file(&mut builder, 64);
        moved += usize::from(builder.values.capacity() != capacity);
        capacity = builder.values.capacity();
    }
    assert_eq!(builder.values.len(), 300 * 64);
    assert!(moved <= 12, "{moved}");
}
