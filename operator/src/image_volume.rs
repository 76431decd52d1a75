//! The model of a pod that lies in an image, and what keeps the node from mounting it.

use crate::seen::Pod;

/// What is said where nobody mounts images: by a kubelet without the feature gate (`pkg/volume`, `FindPluginBySpec`), and
/// by containerd before 2.1, which takes the volume for a folder without a name.
const UNKNOWN: [&str; 2] = ["no volume plugin matched", "failed to mkdir \"\""];

/// The image that holds the pod's model.
fn reference(pod: &Pod) -> Option<&str> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    volumes
        .iter()
        .find_map(|volume| volume.image.as_ref()?.reference.as_deref())
}

/// The sentence where what cannot be pulled is the image with the model. The kubelet tells it of the container as if it
/// were that one's image; `said` are all its words, `detail` the last of them.
pub fn unpulled(pod: &Pod, said: &str, detail: &str) -> Option<String> {
    let image = reference(pod).filter(|image| said.contains(image))?;
    Some(format!(
        "spec.model.uri: the image {image} cannot be pulled: {detail}; check the URI, and \
         spec.podOverrides.imagePullSecrets where the registry asks who is there"
    ))
}

/// The sentence where the node mounts no images.
pub fn unmounted(pod: &Pod, detail: &str) -> Option<String> {
    reference(pod)?;
    let unknown = UNKNOWN.iter().any(|words| detail.contains(words));
    unknown.then(|| {
        format!(
            "spec.model.uri: the node cannot mount an image as a volume: {detail}; it takes the feature gate ImageVolume \
             on the kubelet, and containerd 2.1 or CRI-O 1.31: mend the node, or put the model on a claim (pvc://) or a \
             web server (https://)"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        let volume = json!({"name": "model-image", "image": {"reference": "registry.example/iris:1"}});
        let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [], "volumes": [volume]}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn only_the_image_with_the_model_is_told_by_its_field() {
        let said = "Back-off pulling image \"registry.example/iris:1\": ErrImagePull: not found";
        let told = unpulled(&pod(), said, "not found").unwrap();
        assert!(
            told.starts_with(
                "spec.model.uri: the image registry.example/iris:1 cannot be pulled: not found;"
            ),
            "{told}"
        );
        let servers = "Back-off pulling image \"registry.example/server:1\": ErrImagePull: not found";
        assert_eq!(unpulled(&pod(), servers, "not found"), None);
        assert_eq!(unpulled(&Pod::default(), said, "not found"), None);
    }

    #[test]
    fn a_node_that_mounts_no_images_is_told_with_the_remedy() {
        for said in [
            "Unable to attach or mount volumes: unmounted volumes=[model-image], unattached volumes=[], failed to \
             process volumes=[model-image]: failed to get Plugin from volumeSpec for volume \"model-image\" err=no \
             volume plugin matched",
            "failed to generate container \"6ec5\" spec: failed to generate spec: failed to mkdir \"\": mkdir : no such \
             file or directory",
        ] {
            let told = unmounted(&pod(), said).unwrap();
            assert!(told.starts_with("spec.model.uri: "), "{told}");
            assert!(told.contains(said) && told.contains("containerd 2.1"), "{told}");
            assert_eq!(unmounted(&Pod::default(), said), None);
        }
        assert_eq!(unmounted(&pod(), "no space left on device"), None);
    }
}
