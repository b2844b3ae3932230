//! The coatings campaign: active learning over alloy compositions
