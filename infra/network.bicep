// A network of the app's own, where storage and vault have private endpoints. Made with PRIVATE_NETWORK=true only.

param location string
param tags object
param token string

// One for each kind of endpoint, in this order: the outputs count on it.
var zones = [
  'privatelink.blob.${environment().suffixes.storage}'
  'privatelink.table.${environment().suffixes.storage}'
  'privatelink.vaultcore.azure.net'
]

module network 'br/public:avm/res/network/virtual-network:0.10.1' = {
  name: 'virtual-network'
  params: {
    name: 'vnet-msisync-${token}'
    location: location
    tags: tags
    addressPrefixes: ['10.77.0.0/24']
    subnets: [
      // Flex Consumption takes up to one address per instance: 59 are free here, 40 the most of route_changes.
      { name: 'app', addressPrefix: '10.77.0.0/26', delegation: 'Microsoft.App/environments' }
      { name: 'endpoints', addressPrefix: '10.77.0.64/27' }
    ]
    enableTelemetry: false
  }
}

module names 'br/public:avm/res/network/private-dns-zone:0.8.1' = [
  for zone in zones: {
    name: zone
    params: {
      name: zone
      tags: tags
      virtualNetworkLinks: [{ virtualNetworkResourceId: network.outputs.resourceId }]
      enableTelemetry: false
    }
  }
]

output appSubnetId string = network.outputs.subnetResourceIds[0]
output endpointSubnetId string = network.outputs.subnetResourceIds[1]
output blobZoneId string = names[0].outputs.resourceId
output tableZoneId string = names[1].outputs.resourceId
output vaultZoneId string = names[2].outputs.resourceId
