"""What is learned when: datasets, class presence, steps, class orders, label views, protocols."""
