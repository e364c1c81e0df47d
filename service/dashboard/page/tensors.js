// What a signature says of a tensor.
export const INTEGER = /^u?int/;

// A row's dimensions: without the first where that is open.
export const rowShape = (shape) => (shape && shape[0] === null ? shape.slice(1) : shape);
