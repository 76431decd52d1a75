//! Objects of a store by what they are looked up by, so that a reconcile looks at a few objects and not at all.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kube::Resource;

/// Which keys an object is found under.
pub type Keys<K> = fn(&K) -> Vec<String>;

/// Objects by key; clones share it. Who writes it writes the store as well.
pub struct Index<K> {
    keys: Keys<K>,
    found: Arc<RwLock<HashMap<String, Vec<Arc<K>>>>>,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Index {
            keys: self.keys,
            found: Arc::clone(&self.found),
        }
    }
}

impl<K: Resource> Index<K> {
    /// An empty one.
    pub fn new(keys: Keys<K>) -> Self {
        Index {
            keys,
            found: Arc::default(),
        }
    }

    /// The objects under this key, in no order.
    pub fn get(&self, key: &str) -> Vec<Arc<K>> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found.get(key).cloned().unwrap_or_default()
    }

    /// An object is new, changed or gone.
    pub fn change(&self, old: Option<&K>, new: Option<&Arc<K>>) {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = old {
            for key in (self.keys)(old) {
                if let Some(objects) = found.get_mut(&key) {
                    objects.retain(|object| !is_same(&**object, old));
                    if objects.is_empty() {
                        found.remove(&key);
                    }
                }
            }
        }
        if let Some(new) = new {
            for key in (self.keys)(new) {
                found.entry(key).or_default().push(Arc::clone(new));
            }
        }
    }

    /// These are all objects that there are.
    pub fn replace(&self, all: &[Arc<K>]) {
        let mut fresh: HashMap<String, Vec<Arc<K>>> = HashMap::new();
        for object in all {
            for key in (self.keys)(object) {
                fresh.entry(key).or_default().push(Arc::clone(object));
            }
        }
        *self.found.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}

fn is_same<K: Resource>(one: &K, other: &K) -> bool {
    one.meta().name == other.meta().name && one.meta().namespace == other.meta().namespace
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::ResourceExt;

    use super::*;

    fn pod(name: &str, owner: &str) -> Arc<Pod> {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        pod.labels_mut().insert("owner".to_owned(), owner.to_owned());
        Arc::new(pod)
    }

    fn names(index: &Index<Pod>, key: &str) -> Vec<String> {
        index.get(key).iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn an_object_is_found_under_its_present_keys_only() {
        let index = Index::new(|pod: &Pod| pod.labels().get("owner").cloned().into_iter().collect());
        let (a, b) = (pod("a", "one"), pod("b", "one"));
        index.replace(&[Arc::clone(&a), Arc::clone(&b)]);
        assert_eq!(names(&index, "one"), ["a", "b"]);
        let moved = pod("a", "two");
        index.change(Some(&a), Some(&moved));
        assert_eq!(
            (names(&index, "one"), names(&index, "two")),
            (vec!["b".to_owned()], vec!["a".to_owned()])
        );
        index.change(Some(&b), None);
        assert!(names(&index, "one").is_empty());
        index.replace(&[]);
        assert!(names(&index, "two").is_empty());
    }
}
