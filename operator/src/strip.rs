//! What of a watched object of our own kinds is not kept: bytes that nothing here reads, of thousands of objects. Of
//! other kinds, [`crate::seen`] says what is kept.

use kube::Resource;

use crate::labels::LAST_APPLIED;

/// Who set which field, and kubectl's copy.
pub fn metadata<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.remove(LAST_APPLIED);
    }
}
