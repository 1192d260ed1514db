import { follow, type Kind } from './following.ts'
import { storeAt } from './place.ts'

/** Run as a process of its own, with a location and a kind: follows the store, and when told sends what arrived when. */
const [location = '', kind = ''] = process.argv.slice(2)
const store = await storeAt(location)
const { arrived, stop } = await follow(store, location, kind as Kind)
process.on('message', () => {
  process.send?.([...arrived])
  void stop()
    .then(() => store.close())
    .then(() => {
      process.disconnect()
    })
})
process.send?.('ready')
