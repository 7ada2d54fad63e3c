package store

const move = `UPDATE orders SET status = $1`
