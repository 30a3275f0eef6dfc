//! Whether the store can do its work.

use super::StoreError;

/// Whether the store can do its work.
#[async_trait::async_trait]
pub trait Health: Send + Sync {
    /// Whether a delivery could be stored now: writes as much as one takes, and takes it back.
    async fn try_write(&self) -> Result<(), StoreError>;
    /// Waits until the store is lost for good, and answers [`StoreError::Gone`]: nothing was acknowledged since, and
    /// nothing will be. The process should end.
    async fn gone(&self) -> StoreError;
}
